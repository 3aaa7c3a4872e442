"""`python -m crewmesh_store`."""

from crewmesh_store.service import main

if __name__ == "__main__":
    main()
