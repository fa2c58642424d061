from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.snapshot import digest_of
from privacy.errors import DataError


def test_the_same_files_give_the_same_digest_and_any_change_another(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(b"12")
    os.utime(file, ns=(10**18, 10**18))
    first = digest_of([file], secret="s")
    assert digest_of([file], secret="s") == first
    assert len(first) == 64
    seen = {first, digest_of([file], secret="t"), digest_of([], secret="s")}
    os.utime(file, ns=(10**18, 10**18 + 1))
    seen.add(digest_of([file], secret="s"))
    file.write_bytes(b"123")
    os.utime(file, ns=(10**18, 10**18))
    seen.add(digest_of([file], secret="s"))
    assert len(seen) == 5


def test_a_file_that_is_gone_is_a_data_error_without_its_name(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        digest_of([tmp_path / "patients.parquet"], secret="s")
    assert "patients" not in str(caught.value)
