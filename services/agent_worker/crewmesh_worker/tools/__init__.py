"""Tools that agents may use, and what they share during a run."""
