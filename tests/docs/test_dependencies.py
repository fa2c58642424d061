"""docs/dependencies.md and pyproject.toml name the same packages, in the same groups."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _named(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0] for requirement in requirements}


def test_the_same_packages_in_the_same_groups() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {"Runtime": project["dependencies"], "Examples": extras["examples"], "Development": extras["dev"]}
    assert set(extras) == {"examples", "dev"}
    page = (ROOT / "docs" / "dependencies.md").read_text()
    for heading, requirements in wanted.items():
        section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
        assert {name for name, _, _ in rows} == _named(requirements)
        assert all(licence.strip() and reason.strip() for _, licence, reason in rows)
