"""The store: the only part of the mesh that talks to Postgres.

It owns state, order and truth: runs, their leases and logs, identities, files.
"""
