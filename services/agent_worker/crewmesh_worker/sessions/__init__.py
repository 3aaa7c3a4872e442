"""Conversations: what a crew is told of them, and the service that holds them."""
