"""Crews' definitions in files here: found, put together, and their faults shown by line."""
