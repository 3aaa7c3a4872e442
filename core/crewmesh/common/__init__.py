"""What all services share: settings, logging, errors, identity, gRPC set-up.

It holds no business rule.
"""

import os

# Read by gRPC when it is imported, so this package must come first. Otherwise gRPC starts its
# threads again in every process that is forked from this one. Until that executes its program
# they read from this one's connections, and crash it now and then.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
