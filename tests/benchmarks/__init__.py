"""Benchmarks: Crewmesh beside what it is measured against, in one run, on one machine."""
