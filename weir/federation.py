"""A whole federation on one machine, as real processes on loopback, described by a folder."""

from __future__ import annotations

import atexit
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from privacy.errors import ConfigError, RequestRefused, UnavailableError
from weir.connection import Connection
from weir.daemon import PROGRAM, STOP_S, Daemon
from weir.health import wait_until_serving

START_S = 120.0  # for all daemons together; a node checks its data first
POLL_S = 0.05  # until the coordinator has found a node that came back
LOOPBACK = "127.0.0.1:0"  # the kernel chooses the port


def up(folder: str | Path, *, start_timeout_s: float = START_S) -> Connection:
    """Start the federation that `folder` describes, and connect to it.

    The connection is a context manager: leaving it stops every daemon. So does its `close()`, and so does the end of
    the program, however it ends. `con.federation` starts and stops single nodes.

    >>> with weir.up("examples/panel") as con:
    ...     con.sql("SELECT year, COUNT(*) AS n FROM panel GROUP BY year", epsilon=0.5)

    Raises:
        ConfigError, DataError, UnavailableError: what keeps a daemon from serving; those that did start are stopped.
    """
    federation = Federation(folder, start_timeout_s=start_timeout_s)
    federation.start()
    try:
        return federation.connect()
    except BaseException:
        federation.stop()
        raise


class Federation:
    """The daemons of one folder: `coordinator.toml`, `catalog.toml` and `nodes/*.toml`.

    >>> with weir.Federation("examples/panel") as federation:
    ...     con = weir.connect(federation.address)

    Attributes:
        folder: where the configuration lies.
        address: of the coordinator, once started.
        nodes: province → address, once started.

    Args:
        listen: where the coordinator listens; by default a port that the kernel chooses.
        program: the command that is `weir`; tests pass another.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        listen: str = LOOPBACK,
        start_timeout_s: float = START_S,
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        self.folder = Path(folder)
        self.address = ""
        self.nodes: dict[str, str] = {}
        self._listen = listen
        self._start_timeout_s = start_timeout_s
        self._program = program
        self._configs: dict[str, Path] = {}
        self._node_daemons: dict[str, Daemon] = {}
        self._coordinator: Daemon | None = None
        self._starting: list[Daemon] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the nodes side by side, then the coordinator; return when all of them serve.

        Raises:
            ConfigError, DataError, UnavailableError: as `up`.
        """
        if self._coordinator is not None:
            return
        configs = _node_configs(self.folder)
        atexit.register(self.stop)
        deadline_s = time.monotonic() + self._start_timeout_s
        try:
            self._start_nodes(configs, deadline_s)
            self._start_coordinator(deadline_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every daemon, the coordinator first; harmless when nothing runs."""
        daemons = self._daemons()
        for daemon in daemons:
            daemon.terminate()
        deadline_s = time.monotonic() + STOP_S
        for daemon in daemons:
            daemon.stop(deadline_s=deadline_s)
        self._coordinator, self._node_daemons, self._starting = None, {}, []
        self.address, self.nodes = "", {}
        atexit.unregister(self.stop)

    def connect(self) -> Connection:
        """A connection whose `close()` stops this federation."""
        return Connection(self.address, federation=self)

    def stop_node(self, province: str) -> None:
        """Take one province away, as if its machine were down."""
        self._known(province)
        self._node_daemons[province].stop()

    def start_node(self, province: str) -> None:
        """Bring a stopped province back, at the address that the coordinator knows; return when it answers there."""
        self._known(province)
        if self._node_daemons[province].running:
            return
        deadline_s = time.monotonic() + self._start_timeout_s
        daemon = self._launch_node(self._configs[province], listen=self.nodes[province])
        self._node_daemons[province] = daemon
        wait_until_serving(daemon.ready(timeout_s=_left(deadline_s)).address, timeout_s=_left(deadline_s))
        with Connection(self.address) as con:
            while province in {gone.province for gone in con.budget().missing}:
                time.sleep(min(POLL_S, _left(deadline_s)))

    @property
    def process_ids(self) -> dict[str, int]:
        """The daemons' process ids, by name."""
        return {daemon.name: daemon.pid for daemon in self._daemons()}

    def dead(self) -> dict[str, str]:
        """Daemons that are not running any more: name → the last lines that they wrote."""
        return {daemon.name: daemon.log for daemon in self._daemons() if not daemon.running}

    def _daemons(self) -> list[Daemon]:
        found = [self._coordinator] if self._coordinator is not None else []
        return [*found, *self._node_daemons.values(), *self._starting]

    def _known(self, province: str) -> None:
        if province not in self._node_daemons:
            known = ", ".join(self._node_daemons) or "none, it is not started"
            raise RequestRefused(f"There is no province `{province}`.", remedy=f"This federation has: {known}.")

    def _start_nodes(self, configs: list[Path], deadline_s: float) -> None:
        # `_starting` holds each one from its first moment on, so that `stop` finds it whatever happens here.
        for config in configs:
            self._starting.append(self._launch_node(config, listen=LOOPBACK))
        for config, daemon in zip(configs, list(self._starting), strict=True):
            ready = daemon.ready(timeout_s=_left(deadline_s))
            province = ready.province or config.stem
            if province in self._node_daemons:
                raise ConfigError(
                    f"{config} and {self._configs[province]} both name the province `{province}`.",
                    remedy="Give each node a province of its own.",
                )
            self._starting.remove(daemon)
            self._node_daemons[province], self._configs[province] = daemon, config
            self.nodes[province] = ready.address
        for address in self.nodes.values():
            wait_until_serving(address, timeout_s=_left(deadline_s))

    def _launch_node(self, config: Path, *, listen: str) -> Daemon:
        serve = ("node", "serve", "--config", str(config), "--listen", listen, "--stop-with-parent")
        return Daemon(f"node of {config.name}", (*self._program, *serve))

    def _start_coordinator(self, deadline_s: float) -> None:
        config = self.folder / "coordinator.toml"
        serve = ("coordinator", "serve", "--config", str(config), "--listen", self._listen, "--stop-with-parent")
        nodes = tuple(word for name, address in self.nodes.items() for word in ("--node", f"{name}={address}"))
        self._coordinator = Daemon("coordinator", (*self._program, *serve, *nodes))
        self.address = self._coordinator.ready(timeout_s=_left(deadline_s)).address
        wait_until_serving(self.address, timeout_s=_left(deadline_s))


def _left(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise UnavailableError("The federation did not start in time.", remedy="Give it more: start_timeout_s=….")
    return left_s


def _node_configs(folder: Path) -> list[Path]:
    """The TOML files of the nodes, in the order of their names.

    Raises:
        ConfigError: names everything that is missing.
    """
    hint = "A federation is a folder with catalog.toml, coordinator.toml and nodes/*.toml; `weir demo-data` makes one."
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}.", remedy=hint)
    configs = sorted((folder / "nodes").glob("*.toml"))
    missing = [name for name in ("catalog.toml", "coordinator.toml") if not (folder / name).is_file()]
    missing += [] if configs else ["nodes/*.toml"]
    if missing:
        raise ConfigError(f"{folder} lacks {' and '.join(missing)}.", remedy=hint)
    return configs
