"""Webhooks of runs that have ended: which are due, and what came of each try."""
