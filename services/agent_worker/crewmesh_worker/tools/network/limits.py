"""How much of the network one run may use."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Times are in seconds; sizes in bytes, counted after decompression."""

    connect_seconds: float = 10.0
    # For one URL: all its redirects and its whole body, waiting for its turn not counted.
    total_seconds: float = 30.0
    page_bytes: int = 2 * MEBIBYTE
    file_bytes: int = 64 * MEBIBYTE
    robots_bytes: int = 512 * 1024
    # Requests a second to one host.
    host_rate: float = 5.0
    # Requests at the same time, to all hosts.
    concurrent: int = 16
    # A longer pause that a robots.txt asks for is answered with a refusal.
    longest_delay: float = 10.0
