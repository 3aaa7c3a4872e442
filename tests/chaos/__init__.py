"""Breaks a whole mesh on purpose, and checks afterwards that it kept its promises.

`python -m tests.chaos --seed 1 --runs 1000 --faults 200` starts a mesh (mesh.py), loads it
(load.py), injects faults (faults.py), and has an oracle outside the product (oracle.py)
compare what clients were told with what Postgres holds and what was executed.
"""

import crewmesh.common  # noqa: F401 - before gRPC, as in every service
