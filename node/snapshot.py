"""What makes the data of a node "the same": a label that the operator gives, or the identities of the files.

Data that are "the same" give the same answer to the same question, free, from the ledger. Without a label any change of
a file's name, size or modification time makes other data. With a label that is the operator's promise: the node goes on
calling the data the same until node.toml names them anew, and answers from before stand as long. In both cases the
files themselves are watched: what changed is checked against the standard before the next query, and a query during
which they change gives no answer.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from privacy.errors import DataError


@dataclass(frozen=True)
class Snapshot:
    """The data as they are.

    Attributes:
        name: what makes them the same as others, in the ledger and on receipts.
        files: digest of the files' identities, by which the node notices a change.
    """

    name: str
    files: str


def digest_of(files: Iterable[Path], *, secret: str) -> str:
    """A digest of name, size and modification time of `files`; 64 hexadecimal digits.

    It leaves the node with every answer, and a file's size tells how many rows it has: so it is keyed with `secret`.

    Raises:
        DataError: a file is gone.
    """
    digest = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    for file in files:
        digest.update(repr(identity_of(file)).encode())
    return digest.hexdigest()


def identity_of(file: Path) -> tuple[str, int, int]:
    """Name, size in bytes and modification time in ns.

    Raises:
        DataError: it is gone.
    """
    try:
        found = file.stat()
    except OSError:
        raise DataError(
            "A source file of this node cannot be found.",
            remedy="Ask the node's operator to run `weir node check`.",
        ) from None
    return file.name, found.st_size, found.st_mtime_ns
