"""How many workers are needed, as an autoscaler asks it."""
