"""What goes wrong below HTTP, in words that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from crewmesh_worker.tools.network.errors import UnreachableError, UnusableError
from crewmesh_worker.tools.network.urls import Target


@contextmanager
def told(target: Target, seconds: float) -> Iterator[None]:
    """Raise what the HTTP library raises as errors that an agent can report."""
    try:
        yield
    except TimeoutError as error:
        raise UnreachableError(
            f"{target.url} did not answer completely within {seconds:.0f} s: try again later"
        ) from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise UnreachableError(
            f"{target.host} has no valid certificate, so it can't be trusted: "
            f"{error.certificate_error}"
        ) from error
    except aiohttp.ClientConnectorError as error:
        if error.errno == errno.EACCES:
            raise UnreachableError(
                f"runs may not connect to port {target.port} here; whoever runs the workers can name "
                "it in CREWMESH_RUNNER_PORTS"
            ) from error
        raise UnreachableError(
            f"{target.host} can't be reached: it is down, or this machine has no network "
            f"({error.strerror or error})"
        ) from error
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
        raise UnusableError(f"{target.url} answered with what isn't HTTP: {error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(f"the connection to {target.host} broke: {error}") from error
