"""Whether a daemon serves, by the standard `grpc.health.v1`."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from privacy.errors import UnavailableError
from weir.channel import open_channel
from weir.rpc_errors import weir_error

_SERVING = health_pb2.HealthCheckResponse.SERVING


def wait_until_serving(address: str, *, timeout_s: float) -> None:
    """Return when the daemon at `address` says that it serves.

    Raises:
        UnavailableError: it did not within the time.
    """
    with open_channel(address) as channel:
        await_serving(channel, address, timeout_s=timeout_s)


def await_serving(channel: grpc.Channel, address: str, *, timeout_s: float, wait_for_ready: bool = True) -> None:
    """As `wait_until_serving`, on an open channel; `wait_for_ready=False` fails at once where nothing listens."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    updates = stub.Watch(health_pb2.HealthCheckRequest(), timeout=timeout_s, wait_for_ready=wait_for_ready)
    try:
        for update in updates:
            if update.status == _SERVING:
                return
    except grpc.RpcError as fault:
        raise weir_error(fault, address) from None
    finally:
        updates.cancel()
    raise UnavailableError(f"The daemon at {address} stopped before it served.", remedy="Look at what it wrote.")
