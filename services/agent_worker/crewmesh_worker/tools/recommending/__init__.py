"""Recommendations from interactions: which columns say what, training, serving."""
