"""The coordinator daemon: start-up, loop, bounded shutdown."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import sys
import time
from typing import TYPE_CHECKING

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from coordinator.config import CoordinatorConfig, load_config
from coordinator.fanout import FanOut
from coordinator.node_link import MESSAGE_BYTES, NodeLink
from coordinator.question import Tools
from coordinator.repeats import Repeats
from coordinator.rest import RestEngine
from coordinator.service import CoordinatorService
from privacy.errors import ConfigError, UnavailableError
from privacy.planner import Planner
from protos.weir.v1 import coordinator_pb2, coordinator_pb2_grpc

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

CONCURRENT_CALLS = 128  # further ones are turned away at once
INTRODUCTION_S = 5.0
GRACE_S = 5.0  # what still runs may end in this time after a signal
_SERVICE = coordinator_pb2.DESCRIPTOR.services_by_name["Coordinator"].full_name


def serve(config_path: Path, *, listen: str | None = None, nodes: dict[str, str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        listen, nodes: override what the file says; `nodes` is province → address.

    Raises:
        ConfigError: the file, the catalog or an override is wrong, or the address cannot be had.
    """
    config = load_config(config_path, listen=listen, nodes=nodes)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(config))


async def _serve(config: CoordinatorConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    daemon = await Daemon.start(config)
    _spare_the_collector()
    print(json.dumps({"serving": "coordinator", "address": daemon.address}), flush=True)
    introducing = asyncio.create_task(_introduce(daemon.fanout))
    await stop.wait()
    introducing.cancel()
    await daemon.stop()


class Daemon:
    """A coordinator that serves in this loop."""

    def __init__(self, server: aio.Server, address: str, tools: Tools, status: health.aio.HealthServicer) -> None:
        self._server = server
        self._tools = tools
        self._status = status
        self.address = address
        self.fanout = tools.fanout

    @staticmethod
    async def start(config: CoordinatorConfig) -> Daemon:
        """Start serving.

        Raises:
            ConfigError: the address cannot be had.
        """
        tools = _tools(config)
        server = aio.server(
            options=(
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),  # two daemons on one port are a mistake
            ),
            maximum_concurrent_rpcs=CONCURRENT_CALLS,
        )
        service = CoordinatorService(tools, catalog_toml=config.catalog_toml, catalog_digest=config.catalog.digest)
        coordinator_pb2_grpc.add_CoordinatorServicer_to_server(service, server)
        status = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(status, server)
        reflection.enable_server_reflection((_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        address = _bound(server, config.listen)
        await server.start()
        for name in ("", _SERVICE):
            await status.set(name, health_pb2.HealthCheckResponse.SERVING)
        return Daemon(server, address, tools, status)

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Turn new calls away, give running ones `grace_s`, close everything."""
        await self._status.enter_graceful_shutdown()
        await self._server.stop(grace_s)
        self._tools.rest.close()
        await self.fanout.close()


def _tools(config: CoordinatorConfig) -> Tools:
    links = {
        province: NodeLink(province, address, catalog_digest=config.catalog.digest)
        for province, address in config.nodes.items()
    }
    return Tools(
        planner=Planner(config.catalog),
        fanout=FanOut(links),
        rest=RestEngine(),
        repeats=Repeats(),
        now_unix_s=time.time,
        deadline_s=config.deadline_s,
    )


def _spare_the_collector() -> None:
    """Leave what is there for good out of garbage collections, and collect less often.

    To plan a query makes and drops some ten thousand objects, and each look at all that is loaded takes 50 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _bound(server: aio.Server, listen: str) -> str:
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError:
        port = 0
    if not port:
        raise ConfigError(f"The address {listen} cannot be had.", remedy="Choose another, or stop what listens there.")
    return f"{listen.rpartition(':')[0]}:{port}"


async def _introduce(fanout: FanOut) -> None:
    """Say early what queries would stumble over."""
    for province, fault in (await fanout.introductions(timeout_s=INTRODUCTION_S)).items():
        waiting = isinstance(fault, UnavailableError)
        log.log(logging.INFO if waiting else logging.ERROR, "%s: %s", province, fault)
