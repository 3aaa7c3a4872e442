"""Runs: their state, leases and logs."""
