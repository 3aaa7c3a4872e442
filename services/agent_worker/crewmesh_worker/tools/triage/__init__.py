"""Incoming messages: reading them, and the plan of what to do about them."""
