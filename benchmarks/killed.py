"""Studies killed with -9, at random moments and once in every stage, against an undisturbed one.

    python benchmarks/killed.py [--groups 500 --kills 20]
    python benchmarks/killed.py --ranks 2 --kills 6
    python benchmarks/killed.py --kills 0     # in the stages alone

After each kill the same command goes on, until the study, with its report, ends; then a new one
begins. Each that has ended must have the files of the undisturbed one: tables equal row by row,
kept scores and figures byte by byte. With ``--ranks`` one rank alone is killed, whichever, and the
table says how long the others then took to end.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from setting import arguments, keep
from study import ANALYZE, write_encoder, write_prompts

STAGES = {
    "opening": ("kn_lightning.run_folder", "write_rows", 0),
    "attribution": ("kn_lightning.module", "MaskedLanguageModel.predict_step", 2),
    "refinement": ("kn_lightning.callbacks.refine", "RefineCallback.on_predict_batch_end", 3),
    "edits": ("kn_lightning.callbacks.edit", "EditCallback.on_predict_batch_end", 1),
    "keeping scores": ("kn_lightning.run_folder", "write_part", 2),
    "writing a pack": ("kn_lightning.parts", "digest", 9),
    "moving a pack": ("kn_lightning.parts", "move_whole", 2),
    "counting": ("kn_lightning.run_folder", "RunFolder.close", 0),
    "joining": ("kn_lightning.run_folder", "write_rows", 3),
    "moving a table": ("kn_lightning.run_folder", "move_whole", 3),
    "removing parts": ("kn_lightning.files", "shutil.rmtree", -1),
    "drawing the report": ("kn_lightning.report.figures", "svg_and_png", 5),
    "writing the report": ("kn_lightning.report.summary", "as_json", 0),
}
"""Where a process kills itself: a module, its function, and how many calls go well before."""
KILLING = """
import importlib, os, runpy, signal, sys

module, names, left = sys.argv[1], sys.argv[2].split("."), int(sys.argv[3])
place = importlib.import_module(module)
for name in names[:-1]:
    place = getattr(place, name)
original = getattr(place, names[-1])


def killing(*args, **keywords):
    global left
    # Below 0: the call that takes the parts away, under another name, once one of them is gone.
    if left == 0 or left < 0 and args[0].name.startswith(".parts."):
        if left < 0:
            original(next(args[0].iterdir()))
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1 if left > 0 else 0
    return original(*args, **keywords)


setattr(place, names[-1], killing)
sys.argv = sys.argv[4:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Studies:
    """The same study in any folder.

    Args:
        folder: for its encoder and prompts.
        n_groups: of four prompts.
        shape: of its encoder.
        ranks: processes that share it.
    """

    def __init__(self, folder: Path, n_groups: int, shape: str, ranks: int) -> None:
        write_encoder(folder / "encoder", shape)
        write_prompts(folder / "prompts.jsonl", shape, n_groups, 12)
        self.arguments = [
            str(ANALYZE), "--model.encoder", str(folder / "encoder"), "--data", "JsonlPrompts",
            "--data.path", str(folder / "prompts.jsonl"), "--data.pack_tokens", "200",
            "--edit.control_seeds", "1", "--edit.others", "2", "--write.scores", "true",
            "--trainer.accelerator", "cpu", "--trainer.devices", str(ranks), "--run_dir",
        ]  # fmt: skip

    def start(self, run: Path, *before: str) -> subprocess.Popen[str]:
        """Its process; ``before`` stands before the script."""
        return subprocess.Popen(
            [sys.executable, *before, *self.arguments, str(run)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, run: Path) -> float:
        """Seconds that it takes to its end."""
        began = time.monotonic()
        process = self.start(run)
        _, err = process.communicate()
        if process.returncode:
            raise RuntimeError(err)
        return time.monotonic() - began


def same(run: Path, undisturbed: Path) -> bool:
    """Whether both have the same files: equal tables, and byte by byte equal scores and figures."""
    names = [
        sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
        for folder in (run, undisturbed)
    ]
    return names[0] == names[1] and all(
        pq.read_table(run / name).equals(pq.read_table(undisturbed / name))
        if name.endswith(".parquet")
        else (run / name).read_bytes() == (undisturbed / name).read_bytes()
        for name in names[0]
        if name.endswith((".parquet", ".safetensors", ".svg", ".png"))
    )


def processes(main: int) -> list[int]:
    """A study's process and the ranks that it has started."""
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    return [main, *map(int, children)]


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_one(process: subprocess.Popen[str]) -> float:
    """Kill one of a study's processes; seconds until all have ended."""
    ranks = processes(process.pid)
    os.kill(random.choice(ranks), signal.SIGKILL)
    began = time.monotonic()
    while any(map(alive, ranks)):
        time.sleep(0.05)
        if time.monotonic() - began > 600:
            raise RuntimeError(f"processes {ranks} still hang 10 minutes after one was killed")
    process.communicate()
    return time.monotonic() - began


def killed_at_random(studies: Studies, folder: Path, kills: int, whole: float) -> dict[str, Any]:
    """A row: how often, how much was done then, and whether all studies ended the same.

    Args:
        studies: that are killed.
        folder: with the undisturbed one.
        kills: how many.
        whole: seconds that the undisturbed one took; something else may have run beside it.
    """
    done: list[int] = []
    waits: list[float] = []
    runs = []
    while len(done) < kills:
        run = folder / f"run{len(runs)}"
        runs.append(run)
        fresh = True
        while len(done) < kills:
            began = time.monotonic()
            process = studies.start(run)
            try:
                process.wait(random.uniform(0, 1) * whole)
                if fresh:  # it was quicker: so are the next ones
                    whole = time.monotonic() - began
                break
            except subprocess.TimeoutExpired:
                fresh = False
                waits.append(kill_one(process))
                done.append(len(list(run.glob("parts/[0-9]*[0-9]"))))
        studies.finish(run)
    return {
        "killed": f"at {len(done)} random moments",
        "studies": len(runs),
        "packs on disk then": f"{min(done)} to {max(done)}",
        "seconds until all ranks ended": max(waits),
        "all the same": all(same(run, folder / "undisturbed") for run in runs),
    }


def killed_in(stage: str, studies: Studies, folder: Path) -> dict[str, Any]:
    """The same for a process that kills itself in a stage."""
    run = folder / stage.replace(" ", "_")
    module, name, calls = STAGES[stage]
    process = studies.start(run, "-c", KILLING, module, name, str(calls))
    _, err = process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"{stage}: not killed, exit code {process.returncode}: {err}")
    done = len(list(run.glob("parts/[0-9]*[0-9]")))
    studies.finish(run)
    return {
        "killed": f"in {stage}",
        "studies": 1,
        "packs on disk then": str(done),
        "seconds until all ranks ended": 0.0,
        "all the same": same(run, folder / "undisturbed"),
    }


def main() -> None:
    """Kill, go on, compare."""
    parser = arguments(__doc__)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shape = "embedded"
    if options.quick:
        shape, options.groups, options.kills = "tiny", 24, 1
    random.seed(options.seed)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        studies = Studies(folder, options.groups, shape, options.ranks)
        whole = studies.finish(folder / "undisturbed")
        if options.kills:
            rows = [killed_at_random(studies, folder, options.kills, whole)]
            cell = f"{shape}, {options.groups} groups, {options.ranks} ranks"
            keep("killed", cell, rows, options.quick, seed=options.seed)
        if options.ranks == 1:
            stages = ["joining"] if options.quick else list(STAGES)
            found = [killed_in(stage, studies, folder) for stage in stages]
            keep("killed", f"{shape}, {options.groups} groups, in each stage", found, options.quick)
            rows += found
    if not all(row["all the same"] for row in rows):
        sys.exit("a study that was killed ended otherwise")


if __name__ == "__main__":
    main()
