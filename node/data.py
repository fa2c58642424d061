"""The data that a node serves: verified against the standard's promises, snapshot by snapshot."""

from __future__ import annotations

import threading

from node.config import NodeConfig, Source
from node.engine import Engine
from node.finding import Finding, errors_of, refuse_errors_by_place
from node.promises import broken_promises, parses, rows_without_unit, unconvertible
from node.snapshot import Snapshot, digest_of
from node.structure import structure
from privacy.catalog import PrivateTable
from privacy.errors import DataError


class ServedData:
    """The views of `engine`, made anew for each snapshot of the files after a look at what the guarantee rests on."""

    def __init__(self, engine: Engine, config: NodeConfig, *, secret: str) -> None:
        self._engine = engine
        self._config = config
        self._secret = secret
        self._verified: str | None = None
        self._mutex = threading.Lock()

    def snapshot(self) -> Snapshot:
        """The data as the files are now.

        Raises:
            DataError: a file is gone.
        """
        files = (file for name in sorted(self._config.sources) for file in self._config.sources[name].files)
        digest = digest_of(files, secret=self._secret)
        return Snapshot(self._config.snapshot or digest, digest)

    def verify(self, current: Snapshot) -> None:
        """Check the files, unless the snapshot `current` was checked last, and make the views over them.

        Raises:
            DataError: they do not meet the standard. The text is the same for every reason, because it may leave.
        """
        with self._mutex:
            if self._verified != current.files and self._faults(current.files):
                raise DataError(
                    "This node's data do not meet the regional standard, so it answers nothing.",
                    remedy="Ask the node's operator to run `weir node check`, then to restart the node.",
                )

    def verify_first(self) -> None:
        """`verify` at start-up, where the operator alone reads the error.

        Raises:
            DataError: names the table and the column.
        """
        with self._mutex:
            faults = self._faults(self.snapshot().files)
        refuse_errors_by_place(faults)

    def _faults(self, files: str) -> list[Finding]:
        self._verified = None
        if self._changed():
            return [Finding("", "", "error", "Columns or types changed since the node started.")]
        tables = self._config.catalog.private_tables
        found = [
            finding
            for name, source in self._config.sources.items()
            for finding in prepare_view(self._engine, source, tables[name])
        ]
        faults = errors_of(found)
        self._verified = None if faults else files
        return faults

    def _changed(self) -> bool:
        try:
            return self._engine.describe_again() != self._engine.types
        except DataError:
            return True


def prepare_view(engine: Engine, source: Source, table: PrivateTable) -> list[Finding]:
    """Make the view of one table; what was found on the way, up to the first error that forbids the next step."""
    found = structure(table, source, engine.types[source.table])
    if not errors_of(found):
        found += parses(engine, source)
    if errors_of(found):
        return found
    found += unconvertible(engine, source, table)
    lost = rows_without_unit(engine, source, table)
    engine.create_view(source.table, drop_null_units=lost > 0)
    if lost:
        found.append(
            Finding(source.table, table.unit_column, "warning", f"{lost:,} rows have no unit; they are dropped.")
        )
    return found + broken_promises(engine, source.table, table)
