"""`weir node check` finds nothing that would keep an example's node from serving."""

from __future__ import annotations

from pathlib import Path

from examples.panel.prepare import copy_federation
from node.check import check
from weir.demo_data import LEAST_VISITS, generate


def _configs(folder: Path) -> list[Path]:
    return sorted((folder / "nodes").glob("*.toml"))


def test_generated_data_are_without_fault(tmp_path: Path) -> None:
    generate(tmp_path / "yangtze", visits=20_000)
    for config in _configs(tmp_path / "yangtze"):
        findings = check(config)
        assert findings
        assert {finding.level for finding in findings} == {"ok"}


def test_real_records_meet_the_standard(tmp_path: Path) -> None:
    for config in _configs(copy_federation(tmp_path / "panel")):
        remarkable = {(finding.column, finding.level) for finding in check(config) if finding.level != "ok"}
        assert remarkable <= {("hhninc", "warning")}  # a few incomes above the bound are clamped


def test_the_smallest_federation_serves_too(tmp_path: Path) -> None:
    generate(tmp_path / "small", visits=LEAST_VISITS)
    for config in _configs(tmp_path / "small"):
        assert not [finding for finding in check(config) if finding.level == "error"]
