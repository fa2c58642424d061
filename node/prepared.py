"""The data that a node serves from prepared snapshots: the current one, until the manifest names another."""

from __future__ import annotations

import contextlib
import threading

from node.config import NodeConfig
from node.engine import Engine
from node.manifest import Manifest, layout_digest, manifest_identity
from node.prepare import current_manifest
from node.snapshot import Snapshot
from privacy.errors import DataError, InternalError
from privacy.unit_sums import UnitSums


class PreparedData:
    """The views of `engine` over the current snapshot, which was verified as it was made.

    The snapshot before stays attached, for queries that run; the one before that is let go.
    """

    def __init__(self, engine: Engine, config: NodeConfig, *, secret: str) -> None:
        assert config.prepared is not None
        self._engine = engine
        self._folder = config.prepared.folder
        self._label = config.snapshot
        self._layout = layout_digest(config, secret=secret)
        self._mutex = threading.Lock()
        self._attached: list[str] = []  # names of databases, the current one last
        self._count = 0
        self._serving: Manifest | None = None
        self._read: tuple[object, Manifest] | None = None  # and the identity of the file that it was read from

    @property
    def stored(self) -> tuple[UnitSums, ...]:
        """The sums that are ready, in the snapshot that was verified last."""
        with self._mutex:
            serving = self._serving
            return tuple(sums.within(self._attached[-1]) for sums in serving.sums) if serving is not None else ()

    def snapshot(self) -> Snapshot:
        """The current snapshot. It is known by its sources, so that what was answered from these counts as the same.

        Raises:
            DataError: there is none that this node can serve.
        """
        manifest = self._current()
        return Snapshot(self._label or manifest.digest, manifest.file)

    def verify(self, current: Snapshot) -> None:
        """Let queries see the snapshot `current`.

        Raises:
            DataError: it is not there any more, or cannot be read.
        """
        with self._mutex:
            if self._serving is None or self._serving.file != current.files:
                self._serve(self._current())

    def _current(self) -> Manifest:
        written, read = manifest_identity(self._folder), self._read
        if read is not None and read[0] == written:
            return read[1]
        manifest = current_manifest(self._folder, self._layout)
        if manifest is None:
            raise DataError(
                "This node has no prepared snapshot that fits its configuration.",
                remedy="Ask the node's operator to run `weir node prepare`.",
            )
        self._read = written, manifest
        return manifest

    def _serve(self, manifest: Manifest) -> None:
        self._count += 1
        name = f"snapshot{self._count}"
        try:
            self._engine.attach(self._folder / manifest.file, name)
        except InternalError:
            raise DataError(
                "This node's prepared snapshot cannot be read.",
                remedy="Ask the node's operator to run `weir node prepare`.",
            ) from None
        self._attached.append(name)
        self._serving = manifest
        while len(self._attached) > 2:
            with contextlib.suppress(InternalError):  # a query still reads it
                self._engine.detach(self._attached.pop(0))
