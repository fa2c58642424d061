import subprocess
import sys

import pytest

import weir
from privacy import errors


def test_every_public_name_is_there() -> None:
    assert all(getattr(weir, name) is not None for name in weir.__all__)
    assert dir(weir) == sorted(weir.__all__)
    assert weir.__all__ == sorted(weir.__all__)
    with pytest.raises(AttributeError, match="conect"):
        weir.conect  # type: ignore[attr-defined] # noqa: B018


def test_every_error_is_public() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds <= set(weir.__all__)


def test_the_command_starts_without_the_heavy_libraries() -> None:
    code = "import sys, weir.cli.app; print({'pandas', 'pyarrow', 'duckdb', 'opendp', 'grpc'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
