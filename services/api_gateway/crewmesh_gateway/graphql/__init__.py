"""GraphQL: the same mesh, in the shape that a query asks for."""
