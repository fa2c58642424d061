"""Generate the stubs of protos/ into a folder: `python -m tests.protos.generate FOLDER`."""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[2]


def generate(folder: Path) -> None:
    """Write every stub and its .pyi below `folder`, in the layout of the repository."""
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "protos").rglob("*.proto"))
    include = str(files("grpc_tools") / "_proto")
    plugin = f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).with_name('protoc-gen-mypy_grpc')}"
    kinds = [f"--{kind}={folder}" for kind in ("python_out", "pyi_out", "grpc_python_out", "mypy_grpc_out")]
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{include}", plugin, *kinds, *sources]):
        raise SystemExit("protoc failed")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
