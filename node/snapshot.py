"""What makes the data of a node "the same": the identities of its source files, never their content."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from privacy.errors import DataError


def snapshot(files: Iterable[Path], *, secret: str) -> str:
    """A digest of name, size and modification time of `files`; 64 hexadecimal digits.

    It leaves the node with every answer, and a file's size tells how many rows it has: so it is keyed with `secret`.

    Raises:
        DataError: a file is gone.
    """
    digest = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    for file in files:
        digest.update(repr(_identity(file)).encode())
    return digest.hexdigest()


def _identity(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:
        raise DataError(
            "A source file of this node cannot be found.",
            remedy="Ask the node's operator to run `weir node check`.",
        ) from None
    return file.name, found.st_size, found.st_mtime_ns
