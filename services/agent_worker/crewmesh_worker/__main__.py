"""`python -m crewmesh_worker`."""

from crewmesh_worker.service import main

if __name__ == "__main__":
    main()
