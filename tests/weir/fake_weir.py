"""The real command line with daemons that behave as `behave` in their TOML says; a program for `Federation`."""

from __future__ import annotations

import json
import signal
import sys
import threading
import tomllib
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from privacy.errors import DataError
from tests.weir.fake_server import serving_health
from weir.cli import main


def serve(config: Path, *, listen: str | None = None, nodes: dict[str, str] | None = None) -> None:
    settings = tomllib.loads(config.read_text())
    behave = settings.get("behave", "serve")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if behave == "deaf" else lambda *_: stop.set())
    if behave == "refuse":
        raise DataError("Column `cost` of `visits` holds text.", remedy="Correct the mapping.")
    if behave == "crash":
        print("first words\nlast words", file=sys.stderr)
        raise SystemExit(3)
    if behave == "silent":
        stop.wait()
        return
    with _server(listen or "127.0.0.1:0", nodes) as address:
        print(json.dumps(_ready(settings, address, nodes)), flush=True)
        stop.wait()


def _server(listen: str, nodes: dict[str, str] | None) -> AbstractContextManager[str]:
    if nodes is None:
        return serving_health(listen)
    from tests.weir.fake_coordinator import FakeCoordinator, serving

    return serving(FakeCoordinator(), listen)


def _ready(settings: dict[str, Any], address: str, nodes: dict[str, str] | None) -> dict[str, Any]:
    if nodes is not None:
        return {"serving": "coordinator", "address": address}
    return {"serving": "node", "province": settings["province"], "address": address}


if __name__ == "__main__":
    sys.modules["node.serve"] = SimpleNamespace(serve=serve)  # type: ignore[assignment]
    sys.modules["coordinator.serve"] = SimpleNamespace(serve=serve)  # type: ignore[assignment]
    main()
