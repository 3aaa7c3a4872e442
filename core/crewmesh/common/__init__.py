"""What all services share: settings, logging, errors, identity, gRPC set-up.

It holds no business rule.
"""
