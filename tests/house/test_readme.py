"""The READMEs: their commands exist, their Python runs and prints what they show, and both say the same."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from examples.panel.prepare import copy_federation
from privacy.catalog import PrivateTable

ROOT = Path(__file__).parents[2]
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(page: Path, kind: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(page.read_text()) if found == kind]


def _without_comments(text: str) -> str:
    return "\n".join(line.partition("#")[0].rstrip() for line in text.splitlines())


def test_both_say_the_same() -> None:
    english, chinese = READMES
    for kind in ("sh", "python", "toml"):
        assert [*map(_without_comments, _blocks(english, kind))] == [*map(_without_comments, _blocks(chinese, kind))]
    headings = [re.findall(r"^#+", page.read_text(), re.MULTILINE) for page in READMES]
    assert len(headings[0]) == len(headings[1])
    assert _blocks(english, "text")[1:] == _blocks(chinese, "text")[1:]


def test_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for page in READMES:
        named = set(re.findall(r"\bmake (?:[A-Z]+=\S+ )?([a-z]+)", page.read_text()))
        assert {"demo", "test", "bench", "lint", "protos", "lock"} <= named & targets


def test_commands_of_weir_exist() -> None:
    (_, session) = _blocks(READMES[0], "sh")
    lines = [shlex.split(line, comments=True) for line in session.splitlines() if line.startswith("weir ")]
    assert len(lines) == 4
    for words in lines:
        command = [sys.executable, "-m", "weir", words[1], "--help"]
        help_text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
        assert all(word in help_text for word in words if word.startswith("--"))


def test_the_catalog_excerpt_uses_keys_that_exist() -> None:
    (excerpt,) = _blocks(READMES[0], "toml")
    keys = set(re.findall(r"^(\w+) = ", excerpt.partition("[tables.visits.columns]")[0], re.MULTILINE))
    assert keys <= set(PrivateTable.model_fields)


@pytest.mark.timeout(120)
def test_the_python_runs_and_prints_what_is_shown(tmp_path: Path) -> None:
    copy_federation(tmp_path / "build" / "demo" / "panel")
    (program,) = _blocks(READMES[0], "python")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = _blocks(READMES[0], "text")[1]
    # Noise differs each time; columns, keys and the guarantee do not.
    assert done.stdout.splitlines()[0].split() == shown.splitlines()[0].split()
    assert [row.split()[0] for row in done.stdout.splitlines()[2:4]] == ["false", "true"]
    assert done.stdout.count("±") == shown.count("±") == 4
