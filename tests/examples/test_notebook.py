"""The notebook runs from a clean kernel, and is committed without outputs."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "first_steps.ipynb"


def test_committed_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.timeout(200)
def test_runs_from_a_clean_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A copy: data and ledgers of its own, beside the notebook as in the repository.
    panel = tmp_path / "panel"
    shutil.copytree(EXAMPLES / "panel", panel, ignore=shutil.ignore_patterns("data", "state", "__pycache__"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # nothing of the user's own configuration
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in shown if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 1
    answers = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert sum("±" in answer for answer in answers) >= 3
    refusal = [output.text for output in shown if output.output_type == "stream"]
    assert len(refusal) == 1
    assert "→" in refusal[0]
