"""The command line: `crewmesh`.

It speaks REST to a mesh, and never imports gRPC or a service: `crewmesh up` starts
those as processes of their own. Modules import what is heavy inside functions, so
that every command starts at once.
"""
