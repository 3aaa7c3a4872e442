"""A channel that takes a renewed certificate without losing a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from crewmesh.common.mesh_tls import TlsDirectory, TlsFiles, channel_credentials


class RenewingChannel(grpc.aio.Channel):
    """Calls go over a channel that is replaced when the files of its certificate are.

    gRPC's own client credentials never change, and a connection that is made anew after the
    old certificate's end would fail. Calls under way stay where they began, and the channel
    that they hold ends with the last of them.
    """

    def __init__(
        self,
        target: str,
        tls: TlsDirectory,
        options: Sequence[tuple[str, str | int]],
        interceptors: Sequence[grpc.aio.ClientInterceptor] | None = None,
    ) -> None:
        self._target = target
        self._tls = tls
        self._options = options
        self._interceptors = interceptors
        self._open(tls.current())

    def _open(self, files: TlsFiles) -> None:
        self._files = files
        self._callables: dict[tuple[str, str], Any] = {}
        self._channel = grpc.aio.secure_channel(
            self._target,
            channel_credentials(files),
            options=self._options,
            interceptors=self._interceptors,
        )

    def _current(self) -> grpc.aio.Channel:
        files = self._tls.current()
        if files is not self._files:
            self._open(files)
        return self._channel

    def _callable(self, kind: str, method: str, *args: Any, **options: Any) -> Any:
        def call(*call_args: Any, **call_options: Any) -> Any:
            channel = self._current()
            made = self._callables.get((kind, method))
            if made is None:
                made = getattr(channel, kind)(method, *args, **options)
                self._callables[kind, method] = made
            return made(*call_args, **call_options)

        return call

    def unary_unary(self, method: str, *args: Any, **options: Any) -> Any:
        """Return a callable of the method over the channel in use."""
        return self._callable("unary_unary", method, *args, **options)

    def unary_stream(self, method: str, *args: Any, **options: Any) -> Any:
        """Return a callable of the method over the channel in use."""
        return self._callable("unary_stream", method, *args, **options)

    def stream_unary(self, method: str, *args: Any, **options: Any) -> Any:
        """Return a callable of the method over the channel in use."""
        return self._callable("stream_unary", method, *args, **options)

    def stream_stream(self, method: str, *args: Any, **options: Any) -> Any:
        """Return a callable of the method over the channel in use."""
        return self._callable("stream_stream", method, *args, **options)

    async def close(self, grace: float | None = None) -> None:
        """Close the channel in use; see grpc.aio.Channel."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the channel in use."""
        return self._current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the channel in use isn't in that state."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until there is a connection."""
        await self._current().channel_ready()

    async def __aenter__(self) -> RenewingChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
