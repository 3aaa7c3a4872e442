"""Existing CrewAI projects, served as they are.

Each runs in an environment of its own, in runners of its own: its dependencies meet
neither ours nor another project's. The worker reads a project's files but never imports
its code; what does, `inside`, runs in the project's environment only.
"""
