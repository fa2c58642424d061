"""`make demo`: ends by itself, answers five questions from real daemons, fits a terminal of 100 columns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROVINCES = ("north", "south", "east", "west", "shanghai", "jiangsu", "zhejiang", "anhui")


@pytest.mark.timeout(200)
def test_demo(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    demo = subprocess.run(
        [sys.executable, "-m", "examples.demo", str(tmp_path / "demo")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    lines = demo.stdout.splitlines()
    assert lines[0].startswith("Real: ")
    assert max(len(line) for line in lines if "weir up" not in line) <= 100  # that one names the folder
    questions = re.split(r"^\d\. ", demo.stdout, flags=re.MULTILINE)[1:]
    assert len(questions) == 5
    for question in questions:
        assert "SELECT" in question
        assert re.search(r"\d ± \d", question)
        assert re.search(r"ε = 2(, δ = 1e-09)? for the region", question)
    for province in PROVINCES:
        assert re.search(rf"^ {province} +in all +20 +\d", demo.stdout, flags=re.MULTILINE), province
