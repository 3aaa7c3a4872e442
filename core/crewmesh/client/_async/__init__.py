"""The asynchronous client, which the synchronous one is made from: `make client`."""
