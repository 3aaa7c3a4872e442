"""What people write to a crew: its parts, its structured queries, and what was said before.

Used before any agent runs and by the offline model, so nothing here imports CrewAI.
"""
