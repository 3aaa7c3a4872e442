"""A conversation at the command line: lines in, answers out as they are written."""
