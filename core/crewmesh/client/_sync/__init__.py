# Made from the file of the same name in _async by core/make_sync_client.py.
"""The asynchronous client, which the synchronous one is made from: `make client`."""
