"""What `crewmesh init` writes; a `.txt` at the end of a name is left out."""
