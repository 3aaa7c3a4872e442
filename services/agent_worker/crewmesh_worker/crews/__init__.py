"""Crews: what they are (data), how they are checked, and how CrewAI's objects are made of them.

Only `build` imports CrewAI: the worker's main process must not.
"""
