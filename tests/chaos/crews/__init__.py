"""The crew that the chaos harness loads the mesh with."""
