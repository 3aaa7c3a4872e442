"""Runs crews, each in a process of its own that is forked from a warm parent.

Two sides. The worker's, which never imports CrewAI: `pool` and what it uses. The
processes': `zygote`, the parent that has imported everything, and `child`, which it
forks for each runner. `framing` is what both speak. The package imports nothing, so that
neither side loads the other's half.
"""
