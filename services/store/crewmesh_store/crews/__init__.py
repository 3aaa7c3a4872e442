"""Crews' definitions, in versions that never change."""
