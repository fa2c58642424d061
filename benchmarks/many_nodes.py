"""Several nodes in one process, where a process each would need more memory than the machine has.

    python -m benchmarks.many_nodes ADDRESSES.json NODE.toml …

Each is a whole node: its own configuration, ledger, engine, data, and gRPC server at a port of its own. They share what
would be the same in each: the planner, a pure function of the catalog, and the threads. So a plan is made once, and not
as often as one machine has nodes: in a region each node has a machine, and they plan side by side.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from threading import Lock

from node.config import load_config
from node.guard import Plans
from node.serve import Served, open_engine, open_ledger, open_releases
from node.service import NodeService
from privacy.fragment import Plan
from privacy.planner import Planner
from privacy.request import Request
from weir.cli.parent_watch import stop_when_stdin_closes

THREADS = 4  # of all nodes together: more only take turns


class _PlannedOnce:
    """A planner that plans one request at a time: whoever asks for the same meanwhile finds it planned."""

    def __init__(self, planner: Plans) -> None:
        self._planner = planner
        self._lock = Lock()

    def plan(self, request: Request) -> Plan:
        with self._lock:
            return self._planner.plan(request)


def serve(addresses: Path, configs: list[Path]) -> None:
    """Serve all of `configs`, which have one catalog, until SIGTERM; `addresses` gets province → address as JSON."""
    with ExitStack() as held:
        workers = held.enter_context(ThreadPoolExecutor(THREADS))
        planner: Plans | None = None
        services: dict[str, tuple[NodeService, str]] = {}
        for path in configs:
            config = load_config(path)
            planner = planner or _PlannedOnce(Planner(config.catalog))
            ledger = held.enter_context(closing(open_ledger(config)))
            engine = held.enter_context(closing(open_engine(config)))
            releases = open_releases(config, ledger, engine)
            releases = replace(releases, guard=replace(releases.guard, planner=planner))
            services[config.province] = NodeService(releases, workers), config.listen
        asyncio.run(_loop(services, addresses, workers))


async def _loop(services: dict[str, tuple[NodeService, str]], addresses: Path, workers: ThreadPoolExecutor) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_default_executor(workers)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    served = {name: await Served.start(service, listen) for name, (service, listen) in services.items()}
    addresses.write_text(json.dumps({name: one.address for name, one in served.items()}))
    print(json.dumps({"serving": "nodes", "address": next(iter(served.values())).address}), flush=True)
    await stop.wait()
    await asyncio.gather(*(one.stop() for one in served.values()))


if __name__ == "__main__":
    stop_when_stdin_closes()
    serve(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
