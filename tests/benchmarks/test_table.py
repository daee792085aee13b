"""The tables of the benchmarks' README are those of their results."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
MACHINE = {"processor": "P", "threads": 2, "torch": "1"}


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from table import rendered

    return rendered


def test_the_readme_says_what_the_results_say(rendered: Any) -> None:
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert rendered(readme, BENCHMARKS / "results") == readme


def test_every_result_has_its_table() -> None:
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for path in (BENCHMARKS / "results").glob("*.json"):
        assert f"<!-- {path.stem} -->\n" in readme


def test_a_table_is_replaced_by_the_cells_of_its_file(rendered: Any, tmp_path: Path) -> None:
    rows = [{"rule": "a", "seconds_each": 0.01234, "none": None, "count": 1200}]
    cells = {"x, 8 tokens": {"machine": MACHINE, "rows": rows}}
    (tmp_path / "speed.json").write_text(json.dumps(cells))
    readme = "before\n<!-- speed -->\nold\n<!-- end -->\nafter\n"
    once = rendered(readme, tmp_path)
    assert once == (
        "before\n<!-- speed -->\n\n**x, 8 tokens**\n\n"
        "| rule | seconds each | none | count |\n| --- | ---: | ---: | ---: |\n"
        "| a | 0.0123 | – | 1,200 |\n\nP, 2 threads; torch 1\n\n<!-- end -->\nafter\n"
    )
    assert rendered(once, tmp_path) == once


def test_a_later_run_replaces_its_cell_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import setting

    monkeypatch.setattr(setting, "RESULTS", tmp_path)
    setting.keep("speed", "a", [{"seconds": 1}], quick=False)
    setting.keep("speed", "b", [{"seconds": 2}], quick=False)
    setting.keep("speed", "a", [{"seconds": 3}], quick=False)
    setting.keep("speed", "b", [{"seconds": 4}], quick=True)
    kept = json.loads((tmp_path / "speed.json").read_text())
    assert {name: cell["rows"] for name, cell in kept.items()} == {
        "a": [{"seconds": 3}],
        "b": [{"seconds": 2}],
    }
    assert "threads" in kept["a"]["machine"]
    head = ["git", "-C", str(BENCHMARKS), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(head, capture_output=True, text=True, check=False)
    assert kept["a"].get("commit", "") == found.stdout.strip()
    assert '"seconds": 4' in capsys.readouterr().out


def test_a_cell_outside_a_checkout_names_no_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import setting

    monkeypatch.setattr(setting, "__file__", str(tmp_path / "setting.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert setting.commit() == {}


def test_a_bar_is_judged_by_the_worst_figure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from bars import bars

    assert {row["cleared"] for row in bars(tmp_path)} == {"not measured"}

    def keep(name: str, **cells: object) -> None:
        (tmp_path / f"{name}.json").write_text(json.dumps(cells))

    keep("matmul_rate", a={"rows": [{"share_of_rate": 0.8}]}, b={"rows": [{"share_of_rate": 0.6}]})
    keep("whole_run", a={"rows": [{"whole_over_attribution_and_edits": 1.25}]})
    times = ("times_faster_than_captum", "than_captum_of_several")
    equal = {"rule": "gauss_legendre, 5 nodes", times[0]: 4.0, times[1]: 2.5}
    better = {"rule": "gauss_lobatto, 5 nodes", times[0]: 4.5, times[1]: 2.4}
    other = {"rule": "linspace, 20 nodes", times[0]: 2.0, times[1]: 1.0}
    keep("attribution_speed", a={"rows": [equal, other, better]})
    keep("scaling", a={"rows": [], "memory_growth": {"100 to 1000": 0.04, "100 to 3000": 0.2}})
    found = {row["limit"]: (row["worst"], row["cleared"]) for row in bars(tmp_path)}
    assert found["at least 0.7"] == (0.6, "missed")
    assert found["at most 1.25"] == (1.25, "yes")
    assert found["at most 0.05"] == (0.04, "yes")
    captum = [row for row in bars(tmp_path) if "captum, 5 nodes" in row["bar"]]
    assert [(row["worst"], row["cleared"]) for row in captum] == [(4.5, "yes"), (2.5, "missed")]
    assert sum("captum" in row["bar"] for row in bars(tmp_path)) == 6
    assert found["at least 12"] == (None, "not measured")
