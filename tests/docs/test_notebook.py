"""The notebook runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import ast

import nbformat
import pytest
from callbacks.commands import REPOSITORY
from nbclient import NotebookClient


@pytest.mark.slow
@pytest.mark.filterwarnings("default::DeprecationWarning")
@pytest.mark.filterwarnings("default::ResourceWarning")
def test_notebook_runs_and_suppressing_lowers_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(REPOSITORY / "docs" / "neurons.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # kept without results
    resources = {"metadata": {"path": str(REPOSITORY)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute()
    results = [cell.outputs[-1].data for cell in notebook.cells if cell.get("outputs")]
    neurons, means = (ast.literal_eval(data["text/plain"]) for data in results[2:4])
    assert 0 < len(neurons) < 50  # of 2,048: its prompts agree
    assert means[0] < means[2]
    assert means[2] > 0.5  # the encoder knows the answers
    assert "image/png" in results[-1]
