"""DuckDB's SQL, with EXPLAIN before a query, and with the clause in which GoogleSQL says what a query may cost.

    EXPLAIN SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1, max_groups_contributed = 2) kind, COUNT(*) FROM …

Both are taken out of the tokens, so that sqlglot's own parser reads the rest: its compiled classes cannot be extended.
In the place of the clause stands a hint, which nobody can write in DuckDB's SQL.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import Token, TokenType, exp
from sqlglot.dialects.duckdb import DuckDB

DUCKDB = DuckDB()  # what is written; by its name sqlglot would make it anew each time
_BEGIN = {TokenType.SELECT, TokenType.WITH, TokenType.FROM, TokenType.PIVOT}  # a query


class WeirSQL(DuckDB):
    """To read; what is written is plain DuckDB."""

    INDEX_OFFSET = 0  # `x[1]` stays 1 until it is known whether x is a list or a MAP; parsing.py tells the writer

    class Tokenizer(DuckDB.Tokenizer):
        # As a keyword it would swallow the statement as one text.
        KEYWORDS = {name: kind for name, kind in DuckDB.Tokenizer.KEYWORDS.items() if name != "EXPLAIN"}  # noqa: RUF012


@dataclass(frozen=True)
class DifferentialPrivacy:
    """WITH DIFFERENTIAL_PRIVACY at one SELECT.

    Attributes:
        options: what stands in OPTIONS(…).
        start: its first token.
    """

    select: exp.Select
    options: tuple[exp.Expr, ...]
    start: Token


@dataclass(frozen=True)
class Parsed:
    """What a text says.

    Attributes:
        statements: without EXPLAIN and clauses; none where EXPLAIN stands before anything but a query.
        explain: the word, at the beginning.
    """

    statements: tuple[exp.Expr, ...]
    clauses: tuple[DifferentialPrivacy, ...]
    explain: Token | None


def read(sql: str) -> Parsed:
    """The statements in `sql`.

    Raises:
        SqlglotError, RecursionError: as sqlglot does.
    """
    tokens = _WEIR.tokenize(sql)
    explain = tokens.pop(0) if _stand(tokens, 0, "EXPLAIN") else None
    if explain is not None:
        first = next((token for token in tokens if token.token_type != TokenType.L_PAREN), None)
        if first is None or first.token_type not in _BEGIN:
            return Parsed((), (), explain)
    kept, written = _without_clauses(tokens)
    statements = [one for one in _WEIR.parser().parse(kept, sql) if one is not None]
    clauses = tuple(_clause(sql, select, written) for one in statements for select in one.find_all(exp.Select))
    found = tuple(one for one in statements if not isinstance(one, exp.Semicolon))
    return Parsed(found, tuple(filter(None, clauses)), explain)


_WEIR = WeirSQL()
_DEEPER = {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}
_Clause = tuple[Token, list[Token]]  # WITH, and the tokens between the parentheses of OPTIONS


def _without_clauses(tokens: list[Token]) -> tuple[list[Token], list[_Clause]]:
    """The tokens with a hint in the place of each clause, which names its place in the list."""
    kept: list[Token] = []
    clauses: list[_Clause] = []
    place = 0
    while place < len(tokens):
        start = tokens[place]
        end, options = _clause_at(tokens, place)
        if end == place:
            kept.append(start)
            place += 1
            continue
        kept.append(_in_its_place(start, TokenType.HINT, comments=[f"_{len(clauses)}"]))
        clauses.append((start, options))
        place = end
    return kept, clauses


def _clause_at(tokens: list[Token], start: int) -> tuple[int, list[Token]]:
    """Where the clause that starts at `start` ends, and its options; `start` where there is none."""
    if tokens[start].token_type != TokenType.WITH:  # as nearly always
        return start, []
    if not _stand(tokens, start - 1, TokenType.SELECT, TokenType.WITH, "DIFFERENTIAL_PRIVACY"):
        return start, []
    opened = start + 3
    if not _stand(tokens, opened - 1, "OPTIONS", TokenType.L_PAREN):
        return start + 2, []
    depth = 0
    for end in range(opened, len(tokens)):
        depth += _DEEPER.get(tokens[end].token_type, 0)
        if depth == 0:
            return end + 1, tokens[opened + 1 : end]
    return start, []  # not closed: the parser says so


def _clause(sql: str, select: exp.Select, written: list[_Clause]) -> DifferentialPrivacy | None:
    hint = select.args.get("hint")
    if hint is None:
        return None
    select.set("hint", None)
    start, options = written[int(hint.expressions[0].name[1:])]
    # As the columns of a SELECT they are parsed as expressions, with commas between.
    parsed = _WEIR.parser().parse([_in_its_place(start, TokenType.SELECT), *options], sql) if options else []
    only = parsed[0] if len(parsed) == 1 else None
    plain = isinstance(only, exp.Select) and not any(
        value for name, value in only.args.items() if name != "expressions"
    )
    items = only.expressions if plain and only is not None else [item for item in parsed if item is not None]
    return DifferentialPrivacy(select, tuple(items), start)


def _in_its_place(token: Token, kind: TokenType, comments: list[str] | None = None) -> Token:
    """A token that nobody wrote, as if it stood where `token` does."""
    return Token(kind, token.text, token.line, token.col, token.start, token.end, comments or [])


def _stand(tokens: list[Token], place: int, *expected: TokenType | str) -> bool:
    """Whether `expected` stand at `place`: kinds of tokens, or words, which are no texts or quoted names."""
    found = tokens[place : place + len(expected)]
    return len(found) == len(expected) and all(map(_is, found, expected))


def _is(token: Token, expected: TokenType | str) -> bool:
    if isinstance(expected, TokenType):
        return token.token_type == expected
    return token.token_type == TokenType.VAR and token.text.upper() == expected
