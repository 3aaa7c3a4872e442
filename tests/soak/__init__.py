"""Does memory stay flat? `make soak` loads a whole mesh steadily and watches every process.

The mesh and the clients are those of the chaos harness, without its faults.
"""
