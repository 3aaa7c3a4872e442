"""The reference, made of what it is about: `make reference` writes docs/reference anew."""
