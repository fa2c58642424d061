"""The house is in order: imports point one way, stubs are fresh, packages are typed, the repository is small."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.protos.generate import generate

ROOT = Path(__file__).parents[2]
MOST_BYTES = 1_000_000
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def test_imports_point_one_way() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_the_contract_is_that_of_the_design() -> None:
    (contract,) = _PROJECT["tool"]["importlinter"]["contracts"]
    assert contract["type"] == "layers"
    assert contract["layers"] == ["weir", "coordinator | node", "privacy | protos"]
    assert sorted(_PROJECT["tool"]["importlinter"]["root_packages"]) == sorted(PACKAGES)


def _stubs(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in (folder / "protos").rglob("*_pb2*.py*")
        if path.suffix in (".py", ".pyi")
    }


def test_stubs_are_fresh(tmp_path: Path) -> None:
    generate(tmp_path)
    fresh, committed = _stubs(tmp_path), _stubs(ROOT)
    assert fresh
    assert fresh.keys() == committed.keys()
    assert [name for name in fresh if fresh[name] != committed[name]] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_no_large_file_is_tracked() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    command = ["git", "ls-files", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True).stdout.decode().split("\0")
    files = [ROOT / name for name in names if name and (ROOT / name).is_file()]
    assert files
    assert [path.name for path in files if path.stat().st_size > MOST_BYTES] == []
