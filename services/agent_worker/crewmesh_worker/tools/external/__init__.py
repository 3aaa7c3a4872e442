"""The external APIs that tools use: what is asked of each, and what it answers.

None needs a key. Each has a base address of its own in the worker's settings.
"""
