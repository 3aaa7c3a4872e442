"""The embedded mesh: Postgres and the services on this machine, under one parent.

`crewmesh up` is that parent. It starts all of them at once, brings back what falls,
stops them in order, and leaves nothing running.
"""
