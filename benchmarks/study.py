"""A whole study of random prompts in a fresh process, by the command's own way.

As a script it takes ``analyze.py``'s flags, runs the study without its report, and ends with one
line of JSON: seconds and the process's peak memory.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ANALYZE = Path(__file__).parent.parent / "analyze.py"
THREADS = "OMP_NUM_THREADS"


def write_encoder(folder: Path, shape: str) -> None:
    """A random encoder that ``--model.encoder`` can load."""
    from setting import random_encoder

    encoder = random_encoder(shape)
    encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)


def write_prompts(path: Path, shape: str, n_groups: int, n_tokens: int) -> None:
    """Random prompt groups of a shape's words that ``JsonlPrompts`` can read."""
    from setting import SHAPES, random_words
    from transformers import BertConfig

    n_words = SHAPES[shape].get("vocab_size", BertConfig().vocab_size)
    write_prompts_of(path, random_words(n_words), n_groups, n_tokens)


def write_prompts_of(path: Path, words: Sequence[str], n_groups: int, n_tokens: int) -> None:
    """Random prompt groups of words that are one token each."""
    from setting import random_groups

    with path.open("w", encoding="utf-8") as lines:
        for group in random_groups(words, n_groups, n_tokens):
            prompts = [asdict(prompt)["text"] for prompt in group.prompts]
            line = {"concept": group.concept, "prompts": prompts, "pos": group.pos}
            lines.write(json.dumps(line) + "\n")


def run_study(
    encoder: Path,
    prompts: Path,
    run_dir: Path,
    flags: Sequence[str] = (),
    threads: int | None = None,
) -> dict[str, Any]:
    """``seconds`` of the study, ``start_seconds`` before its first batch, ``peak_bytes``."""
    command = [
        sys.executable, __file__, "--model.encoder", str(encoder), "--data", "JsonlPrompts",
        "--data.path", str(prompts), "--run_dir", str(run_dir), *flags,
    ]  # fmt: skip
    environment = os.environ if threads is None else {**os.environ, THREADS: str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def analyzed(run_dir: Path, flags: Sequence[str]) -> dict[str, Any]:
    """``summary.json`` of ``analyze.py`` with these flags, its report drawn as well."""
    command = [
        sys.executable, str(ANALYZE), "--run_dir", str(run_dir), "--data.tag_pos", "false",
        "--trainer.enable_progress_bar", "false", *flags,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    numbers: dict[str, Any] = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    return numbers


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    try:
        # ru_maxrss would count the process that started this one where it was larger.
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return next(
        int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")
    )


def main() -> None:
    """Run one study; rank 0 reports."""
    began = time.perf_counter()
    from kn_lightning.command import loading

    with loading():
        from kn_lightning.cli import AnalyzeCLI

        cli = AnalyzeCLI()
    ready = time.perf_counter()
    cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
    if cli.trainer.is_global_zero:
        result = {
            "seconds": time.perf_counter() - ready,
            "start_seconds": ready - began,
            "peak_bytes": peak_bytes(),
        }
        sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
