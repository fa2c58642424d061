"""The node daemon: start-up, loop, bounded shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from node.config import NodeConfig, PreparedPlace, load_config, loopback
from node.data import ServedData
from node.engine import Engine
from node.guard import Guard, QueryLimit
from node.journal import open_read_only, secret_of
from node.ledger import Ledger
from node.manifest import Manifest, layout_digest
from node.one_at_a_time import OneAtATime
from node.prepare import OnStep, current_manifest, prepare, source_files
from node.prepared import PreparedData
from node.release import BoundedSql, Releases
from node.service import NodeService
from privacy.bounding import bounded_sql
from privacy.errors import ConfigError
from privacy.fragment import Fragment
from privacy.noise import noisy
from privacy.planner import Planner
from protos.weir.v1 import node_pb2, node_pb2_grpc

log = logging.getLogger(__name__)

_GRACE_S = 5.0  # how long calls may finish after a stop signal
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.max_send_message_length", 64 * 2**20),
    ("grpc.so_reuseport", 0),  # a second daemon on one port is a fault, not load balancing
)
_CONCURRENT_CALLS = 256
_SERVICE = node_pb2.DESCRIPTOR.services_by_name["Node"].full_name


def serve(config_path: Path, *, listen: str | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        listen: HOST:PORT instead of the configured one.

    Raises:
        ConfigError, MismatchRefused: the configuration.
        DataError: the data do not meet the standard.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    config = load_config(config_path)
    if listen is not None:
        config = replace(config, listen=loopback(listen))
    with contextlib.ExitStack() as held:
        ledger = held.enter_context(contextlib.closing(open_ledger(config)))
        if config.prepared is not None:
            _prepare_if_missing(config, config.prepared, ledger.secret)
        engine = held.enter_context(contextlib.closing(open_engine(config)))
        asyncio.run(_loop(config, open_releases(config, ledger, engine), engine))


def open_ledger(config: NodeConfig) -> Ledger:
    """The ledger of the node, held until it is closed.

    Raises:
        ConfigError: another daemon has it, or it is no ledger of this node.
    """
    return Ledger(
        config.ledger,
        province=config.province,
        policy=config.budget.policy(),
        clock=time.time,
        signing_key=config.signing_key,
    )


def prepare_snapshot(config_path: Path, *, on_step: OnStep) -> Manifest:
    """Make the snapshot of the sources as they are now, beside a daemon that serves or without one.

    Raises:
        ConfigError, MismatchRefused: the configuration.
        DataError: the sources do not meet the standard.
    """
    config = load_config(config_path)
    return prepare(config, secret=_secret(config), on_step=on_step)


def _secret(config: NodeConfig) -> str:
    """The node's own; a ledger that does not exist yet is made, as the daemon would make it."""
    if not config.ledger.exists():
        with contextlib.closing(open_ledger(config)) as ledger:
            return ledger.secret
    with contextlib.closing(open_read_only(config.ledger)) as journal:
        return secret_of(journal)


def _prepare_if_missing(config: NodeConfig, place: PreparedPlace, secret: str) -> None:
    current = current_manifest(place.folder, layout_digest(config, secret=secret))
    if current is None:
        prepare(
            config, secret=secret, on_step=lambda step, number, of: log.info("preparing %d/%d: %s", number, of, step)
        )
    elif current.files != source_files(config):
        log.info("the sources are newer than the prepared snapshot: `weir node prepare` makes one of them")


def open_engine(config: NodeConfig) -> Engine:
    """Over the sources, or over the prepared snapshots where node.toml has them.

    Raises:
        DataError, ConfigError: as `Engine.open`.
    """
    if config.prepared is not None:
        return Engine.over_snapshots(config, config.prepared.folder)
    return Engine.open(config)


def open_releases(config: NodeConfig, ledger: Ledger, engine: Engine) -> Releases:
    """What the node does, without the network.

    Raises:
        DataError: the data do not meet the standard.
    """
    large = config.engine.large_tables
    data: ServedData | PreparedData
    bounded: BoundedSql
    if config.prepared is not None:
        data = prepared = PreparedData(engine, config, secret=ledger.secret)
        data.verify(data.snapshot())

        def bounded(fragment: Fragment, *, secret: str) -> str:
            return bounded_sql(fragment, secret=secret, large=large, stored=prepared.stored)
    else:
        data = ServedData(engine, config, secret=ledger.secret)
        data.verify_first()
        bounded = partial(bounded_sql, large=large)
    guard = Guard(
        province=config.province,
        catalog_digest=config.catalog.digest,
        limit=QueryLimit(config.budget.epsilon_per_query, config.budget.delta_per_query),
        planner=Planner(config.catalog),
        clock=time.time,
    )
    return Releases(
        guard=guard,
        ledger=ledger,
        engine=engine,
        data=data,
        bounded_sql=bounded,
        noise=partial(noisy, threads=config.engine.threads),
        one_at_a_time=OneAtATime(timeout_s=2 * config.engine.time_limit_s),
    )


async def _loop(config: NodeConfig, releases: Releases, engine: Engine) -> None:
    stop = _stop_signal()
    workers = ThreadPoolExecutor(config.engine.concurrent_queries, thread_name_prefix="release")
    _spare_the_collector()
    served = await Served.start(NodeService(releases, workers), config.listen)
    print(json.dumps({"serving": "node", "province": config.province, "address": served.address}), flush=True)
    await stop.wait()
    log.info("stopping")
    await served.stop()
    engine.interrupt()  # threads whose calls were cancelled end soon, so that the process does
    workers.shutdown(cancel_futures=True)


class Served:
    """A node's gRPC server, running in this loop at `address`."""

    def __init__(self, server: grpc.aio.Server, wellness: health.aio.HealthServicer, address: str) -> None:
        self._server = server
        self._wellness = wellness
        self.address = address

    @staticmethod
    async def start(service: NodeService, listen: str) -> Served:
        """Serve `service` at HOST:PORT.

        Raises:
            ConfigError: the address cannot be had.
        """
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_CONCURRENT_CALLS)
        node_pb2_grpc.add_NodeServicer_to_server(service, server)
        wellness = await _add_health(server)
        reflection.enable_server_reflection((_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        address = _bound(server, listen)
        await server.start()
        return Served(server, wellness, address)

    async def stop(self) -> None:
        """Turn new calls away and give running ones some seconds."""
        await self._wellness.enter_graceful_shutdown()
        await self._server.stop(_GRACE_S)


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _add_health(server: grpc.aio.Server) -> health.aio.HealthServicer:
    wellness = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(wellness, server)
    for name in ("", _SERVICE):
        await wellness.set(name, health_pb2.HealthCheckResponse.SERVING)
    return wellness


def _spare_the_collector() -> None:
    """Leave what is there for good out of garbage collections, and collect less often.

    To plan a query makes and drops some ten thousand objects, and each look at all that is loaded takes 50 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _bound(server: grpc.aio.Server, listen: str) -> str:
    """HOST:PORT that the server listens at, with the port that the kernel chose."""
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError:
        port = 0
    if port == 0:
        raise ConfigError(f"`listen`: {listen} cannot be bound.", remedy="Choose a free port, or 0 for any.")
    return f"{listen.rpartition(':')[0]}:{port}"
