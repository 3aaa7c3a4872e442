"""What organisations have set for their runs: secrets and policies."""
