"""Resident memory of a long study at a tenth of its packs, at half, at its end, and of its report.

    python benchmarks/soak.py [--groups 3000]

It is read from outside, ten times a second, while the study runs; "rest" is the median of all
readings from there on, up to the report, over that of the readings around a tenth. 100 % is behind
the last pack, where the packs' tables are joined. The report, of the same process, loads matplotlib
and what it draws.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from setting import arguments, keep
from study import ANALYZE, write_encoder, write_prompts


def resident_mib(pid: int) -> float | None:
    """Of a process; None where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(lines[0].split()[1]) / 1024 if lines else None


def readings(command: list[str], parts: Path) -> list[tuple[float, float]]:
    """Packs that are done, and resident memory, ten times a second, of a study to its end.

    Infinitely many of them once their tables are joined, when the report is drawn.
    """
    found: list[tuple[float, float]] = []
    done: float = 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, text=True)
        while process.poll() is None:
            resident = resident_mib(process.pid)
            done = max(done, len(list(parts.glob("[0-9]*[0-9]"))))
            if found and not parts.is_dir():
                done = math.inf
            if resident is not None and (found or parts.is_dir()):
                found.append((done, resident))
            time.sleep(0.1)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read())
    return found


def table_rows(found: list[tuple[float, float]], groups: int) -> list[dict[str, Any]]:
    """Rows of the table, from what :func:`readings` gives."""
    study = [(packs, mib) for packs, mib in found if packs < math.inf]
    report = [mib for packs, mib in found if packs == math.inf]
    most = max(packs for packs, _ in study)
    rows: list[dict[str, Any]] = []

    def add(name: str, around: list[float], rest: list[float]) -> None:
        if around and rest:
            first = rows[0]["resident_mib"] if rows else statistics.median(around)
            rows.append(
                {
                    "packs": name,
                    "groups": groups,
                    "resident_mib": statistics.median(around),
                    "most_mib": max(around),
                    "times_a_tenth": statistics.median(around) / first,
                    "rest_over_a_tenth": statistics.median(rest) / first,
                }
            )

    for share in (0.1, 0.5, 0.9, 1.0):
        near = 0.05 if share < 1 else 0.0
        around = [mib for packs, mib in study if abs(packs / most - share) <= near]
        rest = [mib for packs, mib in study if packs / most >= share]
        add(f"{share:.0%} of {most:.0f}", around, rest)
    add("the report", report, report)
    return rows


def main() -> None:
    """Run, read, keep."""
    parser = arguments(__doc__)
    parser.add_argument("--groups", type=int, default=3000)
    options = parser.parse_args()
    shape = "embedded"
    if options.quick:
        shape, options.groups = "tiny", 100
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "encoder", shape)
        write_prompts(folder / "prompts.jsonl", shape, options.groups, 12)
        command = [
            sys.executable, str(ANALYZE), "--model.encoder", str(folder / "encoder"),
            "--data", "JsonlPrompts", "--data.path", str(folder / "prompts.jsonl"),
            "--run_dir", str(folder / "run"),
        ]  # fmt: skip
        found = readings(command, folder / "run" / "parts")
    rows = table_rows(found, options.groups)
    keep("soak", f"{shape}, {options.groups} groups", rows, options.quick)


if __name__ == "__main__":
    main()
