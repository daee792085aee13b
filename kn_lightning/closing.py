"""What a study says at its end, before the paths of its results."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq


def found(run_dir: Path, encoder: str) -> str:
    """What a run folder holds, and of the testbed what to try next; whole lines."""
    prompts = pq.read_table(run_dir / "prompts.parquet", columns=["concept"])
    neurons = pq.read_table(run_dir / "neurons.parquet", columns=["concept"])
    studied, having = (
        pc.count_distinct(rows["concept"]).as_py()  # type: ignore[attr-defined,unused-ignore]
        for rows in (prompts, neurons)
    )
    text = (
        f"found:   {neurons.num_rows} knowledge neurons of {having} of {studied} concepts,"
        f" by {prompts.num_rows} prompts\n"
    )
    if encoder == "embedded":
        text += (
            "next:    a real encoder: python analyze.py --config configs/concept_neurons.yaml"
            " --data.max_groups 20\n"
        )
    return text
