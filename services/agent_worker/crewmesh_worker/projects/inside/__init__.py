"""What runs in a project's own environment: loads the project, and builds it for a run.

It is imported by that environment's Python, and must make do with CrewAI, the standard
library and what `runner.overlay` adds.
"""
