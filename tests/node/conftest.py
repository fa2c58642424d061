from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.makers import Folder, make_folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return make_folder(tmp_path / "federation")
