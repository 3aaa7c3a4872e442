"""The model `local`: a small language model on this machine, without a network or a key.

One process a worker has it loaded (`server`), speaks OpenAI's interface on a loopback port
that only this worker's runs have the key to, and answers one call after another. Runs reach
it through CrewAI's own client for that interface. `process` is the worker's side: it starts
that process at the first use and again whenever it dies.
"""
