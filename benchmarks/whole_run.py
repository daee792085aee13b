"""The whole of ``analyze.py`` against its attribution and edits.

    python benchmarks/whole_run.py [-- FLAGS OF analyze.py]

What is not attribution or edits is the start, reading, refinement, writing, statistics, figures and
the report. The study is run a few times in fresh processes, from its command line to its report;
without flags it is the default one, of the testbed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from setting import arguments, keep
from study import ANALYZE

QUICK = ["--data.max_groups", "4", "--model.rule", "gauss_legendre", "--model.nodes", "3"]


def run(folder: Path, flags: Sequence[str]) -> dict[str, float]:
    """Seconds of one study, of its attribution and edits, and of ``--help``."""
    seconds = {"help": timed([sys.executable, str(ANALYZE), "--help"])}
    seconds["whole"] = timed([sys.executable, str(ANALYZE), "--run_dir", str(folder), *flags])
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return seconds | {stage: environment["seconds"][stage] for stage in ("attribution", "edits")}


def timed(command: Sequence[str]) -> float:
    """Wall time of a command that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return time.perf_counter() - start


def main() -> None:
    """Run, and keep medians and the worst ratio."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cell", default="testbed", help="name of the result")
    parser.add_argument("flags", nargs="*", help="of analyze.py, behind --")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.flags = 1, QUICK
    with tempfile.TemporaryDirectory() as name:
        runs = [run(Path(name) / str(number), options.flags) for number in range(options.rounds)]
    times = [one["whole"] / (one["attribution"] + one["edits"]) for one in runs]
    median = {key: statistics.median(one[key] for one in runs) for key in runs[0]}
    row = {
        "rounds": options.rounds,
        "attribution_seconds": median["attribution"],
        "edits_seconds": median["edits"],
        "whole_seconds": median["whole"],
        "whole_over_attribution_and_edits": statistics.median(times),
        "worst_round": max(times),
        "help_seconds": median["help"],
    }
    keep("whole_run", options.cell, [row], options.quick)


if __name__ == "__main__":
    main()
