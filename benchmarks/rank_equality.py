"""The same study on one rank, several, two nodes, and resumed with other numbers of them.

    python benchmarks/rank_equality.py --encoder DIR --prompts FILE.jsonl [--groups 24]

All tables of each must equal, bit by bit, those of one rank. The nodes are two calls of torchrun on
this machine; ranks speak by gloo on the CPU, one thread each.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from killed import same
from setting import arguments, keep
from study import THREADS, write_encoder, write_prompts

STUDY = str(Path(__file__).parent / "study.py")


def started(flags: list[str], *before: str) -> subprocess.Popen[str]:
    """A study's process; ``before`` stands before the script."""
    return subprocess.Popen(
        [sys.executable, *before, STUDY, *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, THREADS: "1"},
    )


def ended(*studies: subprocess.Popen[str], code: int = 0) -> None:
    """Wait for them; raise RuntimeError where one ends with another exit code."""
    for study in studies:
        _, err = study.communicate()
        if study.returncode != code:
            raise RuntimeError(f"exit code {study.returncode}: {err}")


def ranks(flags: list[str], number: int) -> list[str]:
    """The flags of a study on so many ranks of this machine."""
    return [*flags, "--trainer.devices", str(number), "--trainer.strategy", "ddp"]


def two_nodes(flags: list[str]) -> None:
    """A study on two nodes of one rank each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [*ranks(flags, 1), "--trainer.num_nodes", "2"]
    torchrun = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    torchrun += ["--master-addr", "127.0.0.1", "--master-port", str(port), "--node-rank"]
    ended(*(started(flags, *torchrun, node) for node in ("0", "1")))


def stopped_and_resumed(flags: list[str], run: Path) -> None:
    """Stopped on three ranks, then on two, and ended on one."""
    for number in (3, 2):
        before = len(list(run.glob("parts/0*")))
        study = started(ranks(flags, number))
        while len(list(run.glob("parts/0*"))) == before and study.poll() is None:
            time.sleep(0.02)
        study.send_signal(signal.SIGTERM)
        # The script is not analyze.py, which says how to go on and exits with 143.
        ended(study)
    ended(started(flags))


def main() -> None:
    """Run all, compare, keep."""
    parser = arguments(__doc__)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--prompts", type=Path, help="JSONL of groups")
    parser.add_argument("--groups", type=int, default=24)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.quick or options.encoder is None:
            options.encoder, options.prompts = folder / "encoder", folder / "prompts.jsonl"
            write_encoder(options.encoder, "tiny")
            write_prompts(options.prompts, "tiny", options.groups, 12)
        study = ["--model.encoder", str(options.encoder), "--data", "JsonlPrompts"]
        study += ["--data.path", str(options.prompts), "--data.max_groups", str(options.groups)]
        study += ["--data.pack_tokens", "300", "--trainer.accelerator", "cpu", "--run_dir"]
        kinds: dict[str, Any] = {
            "1 rank": lambda flags, run: ended(started(flags)),
            "2 ranks": lambda flags, run: ended(started(ranks(flags, 2))),
            "3 ranks": lambda flags, run: ended(started(ranks(flags, 3))),
            "2 nodes by torchrun": lambda flags, run: two_nodes(flags),
            "3, 2 and 1 ranks, stopped between": stopped_and_resumed,
        }
        if options.quick:
            kinds = {kind: kinds[kind] for kind in ("1 rank", "2 nodes by torchrun")}
        rows = []
        for kind, run_study in kinds.items():
            run = folder / kind.replace(" ", "_").replace(",", "")
            began = time.monotonic()
            run_study([*study, str(run)], run)
            rows.append(
                {
                    "study": kind,
                    "seconds": time.monotonic() - began,
                    "tables the same, bit by bit": same(run, folder / "1_rank"),
                }
            )
    cell = f"{options.encoder.name}, {options.prompts.stem}, {options.groups} groups"
    keep("rank_equality", cell, rows, options.quick)
    if not all(row["tables the same, bit by bit"] for row in rows):
        sys.exit("another number of ranks gave another result")


if __name__ == "__main__":
    main()
