"""Crews that misbehave, for tests of the whole mesh."""
