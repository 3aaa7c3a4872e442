"""The ports of the mesh's services, kept for them while the mesh lives."""

from __future__ import annotations

import errno
import socket
import sys

from crewmesh.cli.errors import CliError

HOST = "127.0.0.1"


class ReservedPort:
    """A port of the loopback interface that nothing else is given.

    On Linux a socket that is bound with SO_REUSEADDR and doesn't listen keeps the kernel
    from handing its port to others, and lets a service that sets the same option (all
    servers do) listen there. So a service that is restarted finds its port free, and
    services can be told each other's ports before they start. Elsewhere the port was
    free when it was looked for, which is as good as it gets.
    """

    def __init__(self, port: int, option: str) -> None:
        """Take `port`, or any with 0; raise CliError naming `option` when it is taken."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError as error:
            self._socket.close()
            raise _taken(port, option, error) from None
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self._socket.close()

    @property
    def address(self) -> str:
        """Return "host:port"."""
        return f"{HOST}:{self.number}"

    def release(self) -> None:
        """Let others have the port."""
        self._socket.close()


def _taken(port: int, option: str, error: OSError) -> CliError:
    in_use = error.errno == errno.EADDRINUSE
    return CliError(
        f"port {port} is {'in use' if in_use else 'not available'}",
        why="" if in_use else error.strerror or str(error),
        next_step=f"choose another with {option} PORT; {option} 0 takes a free one",
    )
