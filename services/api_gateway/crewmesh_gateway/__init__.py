"""The REST and SSE gateway: authenticates, validates, translates, relays.

It holds no business rule and no state that outlives a request.
"""
