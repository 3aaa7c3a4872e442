"""The agent worker: serves AgentService and runs CrewAI crews.

This process never imports CrewAI; its runner processes do.
"""
