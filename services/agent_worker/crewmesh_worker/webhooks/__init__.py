"""Webhooks: signed as Standard Webhooks says, sent to public hosts only."""
