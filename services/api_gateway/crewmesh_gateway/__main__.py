"""`python -m crewmesh_gateway`."""

from crewmesh_gateway.service import main

if __name__ == "__main__":
    main()
