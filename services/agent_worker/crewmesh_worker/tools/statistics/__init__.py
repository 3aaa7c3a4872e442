"""Statistics of large lists of numbers, worked out in parts and merged."""
