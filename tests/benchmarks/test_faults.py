"""Benchmarks of long and of killed studies."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .quick import BENCHMARKS, rows_of
from .quick import quick as quick


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_soak_to_the_end(quick: Any) -> None:
    rows = rows_of(quick("soak"))
    assert rows[-2]["packs"].startswith("100% of ")
    assert rows[-1]["packs"] == "the report"
    assert all(row["resident_mib"] > 100 for row in rows)


def test_soak_shows_growth_behind_the_last_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from soak import table_rows

    packs = [(number, 100.0) for number in range(20)]
    rows = table_rows([*packs, (20, 150.0), (20, 170.0), (math.inf, 200.0)], 7)
    shares = [f"{share}% of 20" for share in (10, 50, 90, 100)]
    assert [row["packs"] for row in rows] == [*shares, "the report"]
    assert [row["times_a_tenth"] for row in rows] == [1, 1, 1, 1.6, 2]
    assert [row["rest_over_a_tenth"] for row in rows[-2:]] == [1.6, 2]
    assert rows[-2]["most_mib"] == 170


def test_stages_in_which_studies_are_killed_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from killed import STAGES

    for module, name, _ in STAGES.values():
        place: Any = importlib.import_module(module)
        for part in name.split("."):
            place = getattr(place, part)
        assert callable(place)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.parquet", b""), ("scores/a.safetensors", b"1"), ("figures/a.svg", b"1"), ("new", b"0")],
)
def test_killed_study_that_ended_otherwise_is_not_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from killed import same

    runs = tmp_path / "run", tmp_path / "undisturbed"
    for run in runs:
        for file in ("scores/a.safetensors", "figures/a.svg", "report.html"):
            (run / file).parent.mkdir(parents=True, exist_ok=True)
            (run / file).write_bytes(b"0")
        pq.write_table(pa.table({"a": [1]}), run / "a.parquet")
    (runs[0] / "report.html").write_bytes(b"of other seconds")
    assert same(*runs)
    if content:
        (runs[0] / name).write_bytes(content)
    else:
        pq.write_table(pa.table({"a": [2]}), runs[0] / name)
    assert not same(*runs)
