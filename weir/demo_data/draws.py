"""Pseudo-random draws as SQL: reproducible on every machine and version, because MD5 is.

`key` is one MD5 of a seed, a salt and identifiers; `uniform` cuts independent numbers in [0, 1) out of it.
"""

from __future__ import annotations

from collections.abc import Mapping

HALF_BITS = 64
_HALF = 2**HALF_BITS - 1


def double(value: float) -> str:
    """The SQL of a number as DOUBLE (without an exponent it would be a DECIMAL, which overflows)."""
    return f"{value:.17e}"


def key(seed: int, salt: str, *identifiers: str) -> str:
    """The SQL of a 128-bit key; cut it with `halves`."""
    parts = ", ".join((str(seed), f"'{salt}'", *identifiers))
    return f"md5_number(concat_ws('/', {parts}))"


def halves(column: str) -> str:
    """The two select items that cut a key into `low` and `high`, 64 bits each (shifts of 128 bits are slow)."""
    return f"({column} & {_HALF})::UBIGINT AS low, ({column} >> {HALF_BITS})::UBIGINT AS high"


def uniform(half: str, first_bit: int, bits: int) -> str:
    """The SQL of a number in [0, 1) from `bits` bits of `low` or `high`; cuts that do not overlap are independent."""
    assert first_bit + bits <= HALF_BITS
    return f"(({half} >> {first_bit}) & {2**bits - 1})::DOUBLE / {double(2**bits)}"


def pick(draw: str, shares: Mapping[str, float]) -> str:
    """The SQL of a code drawn by `shares`: `CASE WHEN draw < 0.2 THEN 'a' … ELSE 'z' END`."""
    *codes, last = shares
    total, below, branches = sum(shares.values()), 0.0, []
    for code in codes:
        below += shares[code] / total
        branches.append(f"WHEN {draw} < {double(below)} THEN '{code}'")
    return f"CASE {' '.join(branches)} ELSE '{last}' END"


def lookup(column: str, values: Mapping[str, float | str]) -> str:
    """The SQL of `values[column]`; each value is a number or SQL."""
    results = {code: value if isinstance(value, str) else double(value) for code, value in values.items()}
    branches = " ".join(f"WHEN '{code}' THEN {result}" for code, result in results.items())
    return f"CASE {column} {branches} END"


def normal(first: str, second: str) -> str:
    """The SQL of a standard normal number from two uniform ones (Box and Muller 1958)."""
    return f"sqrt(-2 * ln(1 - {first})) * cos(2 * pi() * {second})"
