"""A gRPC server that says that it serves; light, because tests start many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


@contextmanager
def serving_health(listen: str, add: Callable[[grpc.Server], None] = lambda server: None) -> Iterator[str]:
    """The address of a server with health and what `add` puts into it."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    status = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    add(server)
    port = server.add_insecure_port(listen)
    server.start()
    status.set("", health_pb2.HealthCheckResponse.SERVING)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=0.2).wait()
