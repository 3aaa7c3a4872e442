"""What `crewmesh doctor` looks at: this machine, and the mesh that commands talk to."""
