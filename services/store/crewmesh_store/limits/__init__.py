"""How much of the mesh an organisation may use at once."""
