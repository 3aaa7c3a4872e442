"""A run as a person watches it: events become a state, a state becomes lines."""
