"""Briefs that a crew writes."""
