"""An entry of the journal: what was done, chained to the entry before by its hash, signed by the node's key.

    body       canonical JSON (sorted keys, no spaces, UTF-8) of content, kind, previous, sequence, time_ms
    signature  Ed25519 over the body
    hash       SHA-256 over body and signature; the next entry's `previous`

So the newest signature vouches for every entry before it, signatures included.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args

from node.signing import SigningKey, signed
from privacy.errors import LedgerError

Kind = Literal["opened", "policy", "charged", "settled", "admin"]
_KINDS = get_args(Kind)
NOTHING = "0" * 64  # `previous` of the first entry


@dataclass(frozen=True)
class Head:
    """The newest entry of a chain."""

    sequence: int
    hash: str


START = Head(0, NOTHING)


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        sequence: 1, 2, 3 …
        time_ms: by the node's clock, milliseconds since 1970.
        content: strings, whole numbers, truth values and nothing of the data.
        previous: hash of the entry before.
        body: the canonical text of all of these.
    """

    sequence: int
    time_ms: int
    kind: Kind
    content: dict[str, Any]
    previous: str
    body: str
    signature: bytes

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.body.encode() + self.signature).hexdigest()

    @property
    def head(self) -> Head:
        return Head(self.sequence, self.hash)

    def is_signed(self, *, public: str) -> bool:
        """Whether the holder of that key wrote it."""
        return signed(self.body.encode(), self.signature, public=public)


def written(head: Head, *, time_ms: int, kind: Kind, content: dict[str, Any], key: SigningKey) -> Entry:
    """The entry that follows `head`."""
    sequence = head.sequence + 1
    body = canonical(
        {"sequence": sequence, "time_ms": time_ms, "kind": kind, "content": content, "previous": head.hash}
    )
    return Entry(sequence, time_ms, kind, content, head.hash, body, key.sign(body.encode()))


def read(place: int, raw: bytes, signature: bytes, claimed_hash: str) -> Entry:
    """The entry stored at `place`, its hash recomputed; its signature and its link are not checked yet.

    Raises:
        LedgerError: it is not what was written there.
    """
    try:
        body = raw.decode()
        fields = json.loads(body)
        entry = Entry(body=body, signature=signature, **fields)
        sound = canonical(fields) == body and entry.kind in _KINDS and isinstance(entry.content, dict)
    except (ValueError, TypeError, RecursionError):
        broken(place, "it cannot be read")
    if not sound or entry.sequence != place or not isinstance(entry.time_ms, int):
        broken(place, "it cannot be read")
    if entry.hash != claimed_hash:
        broken(place, "its hash does not fit its content")
    return entry


def follow(head: Head, entry: Entry) -> Head:
    """The head after `entry`.

    Raises:
        LedgerError: it does not follow `head`.
    """
    if entry.sequence != head.sequence + 1:
        broken(head.sequence + 1, "it is missing")
    if entry.previous != head.hash:
        broken(entry.sequence, "it does not follow the entry before")
    return entry.head


def canonical(fields: dict[str, Any]) -> str:
    """JSON with one spelling."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def broken(sequence: int, reason: str) -> NoReturn:
    """Raises: LedgerError: that says where the journal breaks, and nothing of the data."""
    raise LedgerError(
        f"The ledger's journal breaks at entry {sequence:,}: {reason}.",
        remedy="Keep the file as it is for the audit; docs/ledger.md says what to do.",
    )
