"""Channels to daemons."""

from __future__ import annotations

import re

import grpc

from privacy.errors import ConfigError

MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # 100,000 cells of a few columns are some MB

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),  # daemons listen on loopback: a proxy of the environment would not find them
)
_ADDRESS = re.compile(r"^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})$")


def open_channel(address: str) -> grpc.Channel:
    """A channel to `address`, not yet connected.

    Raises:
        ConfigError: it is not HOST:PORT.
    """
    match = _ADDRESS.match(address) if isinstance(address, str) else None
    if match is None or not 0 < int(match[1]) < 65536:
        raise ConfigError(f"{address!r} is no address.", remedy='Write HOST:PORT, for example "localhost:50050".')
    return grpc.insecure_channel(address, options=_OPTIONS)
