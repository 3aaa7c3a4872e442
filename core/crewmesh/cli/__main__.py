"""`python -m crewmesh.cli`."""

import sys

from crewmesh.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
