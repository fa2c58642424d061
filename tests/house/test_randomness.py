"""Randomness enters in privacy/noise.py alone, and privacy/ does no input or output."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("privacy", "node", "coordinator", "weir")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
NOISE = ROOT / "privacy" / "noise.py"
# Of an engine, in SQL that we write; `secrets` makes keys and nonces, never noise.
_ENGINE = re.compile(r"\b(?:random|setseed|uuid|gen_random_uuid)\s*\(|\btablesample\b|\busing sample\b", re.IGNORECASE)
_REFUSED_BY_NAME = {ROOT / "privacy" / "parsing.py"}  # the message that refuses TABLESAMPLE names it
_OUTSIDE = {"os", "io", "pathlib", "socket", "sqlite3", "subprocess", "shutil", "tempfile", "grpc", "urllib", "http"}


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _random(tree: ast.AST) -> Iterator[str]:
    """Where `tree` could draw a random number."""
    yield from (name for name in _imported(tree) if name.split(".")[0] == "random" or name.startswith("numpy.random"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("random", "default_rng", "urandom"):
            yield ast.unparse(node)


def _engine_random(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _ENGINE.findall(node.value)


def test_the_scan_finds_what_it_looks_for() -> None:
    for code in ("import random", "from numpy import random", "import numpy as np\nnp.random.normal()"):
        assert list(_random(ast.parse(code)))
    assert list(_engine_random(ast.parse("sql = f'SELECT * FROM t ORDER BY RANDOM() LIMIT {n}'")))
    assert list(_random(ast.parse(NOISE.read_text())))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_randomness_enters_in_one_module(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert path == NOISE or not list(_random(tree))
    assert path in _REFUSED_BY_NAME or not list(_engine_random(tree))


@pytest.mark.parametrize("path", sorted((ROOT / "privacy").rglob("*.py")), ids=lambda path: path.name)
def test_privacy_does_no_input_or_output(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not {name.split(".")[0] for name in _imported(tree)} & _OUTSIDE
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {"open", "print", "input", "exec", "eval"}
