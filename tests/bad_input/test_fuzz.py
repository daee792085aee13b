"""What is kept of random inputs is of all readers, of enough inputs, and without a traceback."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from .fuzz import READERS, encoder_readers
from .fuzz_table import RESULTS, record, section


def test_kept_results_are_of_every_reader_and_without_a_traceback(tmp_path: Path) -> None:
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = kept["kinds"]
    readers = READERS | encoder_readers(tmp_path)
    assert rows.keys() == readers.keys(), "count anew: PYTHONPATH=tests python -m bad_input.fuzz"
    assert sum(row["inputs"] for row in rows.values()) >= 10_000
    for kind, row in rows.items():
        assert row["accepted"] + row["refused in one line"] == row["inputs"], kind
        assert min(row["accepted"], row["refused in one line"]) > 0, kind
        assert row["tracebacks"] == 0, kind
    assert {"python", "jsonargparse", "transformers"} <= kept["versions"].keys()


def test_an_input_that_breaks_its_reader_is_counted_and_shown() -> None:
    outcomes = Counter({"csv read": 3, "csv refused": 1_000})
    kept = record(["csv", "lama"], outcomes, ["lama 7: KeyError('a')"], seed=4, seconds=2.6)
    assert kept["kinds"]["csv"] == {
        "inputs": 1003,
        "accepted": 3,
        "refused in one line": 1000,
        "tracebacks": 0,
    }
    assert kept["kinds"]["lama"]["tracebacks"] == 1
    shown = section(kept)
    assert "| lama | 1 | 0 | 0 | 1 |\n| all | 1,004 | 3 | 1,000 | 1 |\n" in shown
    assert "Seed 4, 3 s;" in shown
