"""Time and memory from the benchmarks' results, each row marked as measured or projected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markdown_table import table

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
_GIB = 1024.0

Rows = list[tuple[object, ...]]


def page() -> str:
    """All of them."""
    return (
        f"## The whole command\n\n{of_commands(_read('whole_run'))}"
        f"\n## By size of the study\n\n{of_studies(_read('scaling')['embedded, by groups'])}"
        f"\n## By size of the encoder\n\n{of_encoder_memory(_read('encoder_memory')['12 tokens'])}"
        f"\n## A prompt, by encoder and rule\n\n{of_encoders(_read('attribution_speed'))}"
        f"\n## Whole studies\n\n{of_devices(_read('device_speed'))}"
    )


def of_commands(whole: dict[str, Any]) -> str:
    """``python analyze.py`` without flags, on each machine that it was timed on."""
    rows: Rows = [
        (
            _machine(part),
            f"{row['whole_seconds']:.0f} s",
            f"{row['attribution_seconds']:.0f} s",
            f"{row['edits_seconds']:.0f} s",
            "measured",
        )
        for part in whole.values()
        for row in part["rows"]
    ]
    head = ("machine", "from the command line to the report", "attribution", "edits", "how known")
    study = "`python analyze.py`: the testbed's 348 concepts, with twelve prompts each"
    return f"{table(head, rows)}\n{study}.\n"


def of_studies(by_groups: dict[str, Any]) -> str:
    """Of the embedded encoder, by the number of concepts."""
    rows: Rows = [
        (
            f"embedded, {row['groups']} concepts",
            f"{row['seconds']:.1f} s",
            f"{row['peak_mib'] / _GIB:.2f} GiB",
            "measured",
        )
        for row in by_groups["rows"]
    ]
    line = by_groups.get("time_is_a_line")
    # Below 0 time has grown faster than the groups, which no line projects.
    for groups in (10_000, 100_000) if line and line["seconds_at_0"] >= 0 else ():
        minutes = (line["seconds_at_0"] + line["seconds_each"] * groups) / 60
        study = f"embedded, {groups} concepts"
        rows.append((study, f"{minutes:.0f} min", "not projected", "projected"))
    head = ("study", "time", "peak memory", "how known")
    tokens = by_groups["rows"][0]["tokens"]
    study = (
        f"Concepts with four prompts of {tokens} tokens each, on an encoder of the embedded one's"
        " shape with random weights, for which few nodes are enough; without the start and the"
        " report"
    )
    return f"{table(head, rows)}\n{study}; {_machine(by_groups)}.\n"


def of_encoder_memory(part: dict[str, Any]) -> str:
    """Small studies: their time and the peak memory of their process, by encoder."""
    rows: Rows = [
        (
            row["encoder"],
            f"{row['layers']} × {row['hidden_size']}",
            f"{row['parameters_mib'] / _GIB:.2f} GiB",
            f"{row['seconds']:.0f} s",
            f"{row['peak_mib'] / _GIB:.2f} GiB",
            "measured",
        )
        for row in part["rows"]
    ]
    head = ("encoder", "layers × width", "parameters", "time", "peak memory", "how known")
    groups, tokens = part["rows"][0]["groups"], part["rows"][0]["tokens"]
    study = f"Studies of {groups} concepts, with four prompts of {tokens} tokens each"
    return f"{table(head, rows)}\n{study}; {_machine(part)}.\n"


def of_encoders(speed: dict[str, Any]) -> str:
    """Attribution of a prompt, by encoder and rule."""
    rows: Rows = [
        (
            name,
            row["rule"],
            f"{row['seconds_a_prompt']:.3f} s",
            f"{row['times_faster_than_package']:.1f}",
            "measured" if row["layers_timed"] == "all" else f"in {row['layers_timed']}",
        )
        for name, part in speed.items()
        for row in part["rows"]
        if "layers_timed" in row
    ]
    times = "times as fast as knowledge-neurons"
    return table(("encoder", "code and rule", "a prompt", times, "how known"), rows)


def of_devices(speed: dict[str, Any]) -> str:
    """Whole studies, projected from the speed of a device."""
    columns = {
        "paper: attribution": "paper_attribution_seconds",
        "paper: edits": "paper_edits_seconds",
        "ParaRel: attribution": "pararel_attribution_seconds",
    }
    start = "projected: "
    rows: Rows = [
        (
            name.removeprefix(start),
            _machine(part),
            row["precision"],
            *(f"{row.get(key, 0.0) / 3600:.2f} h" for key in columns.values()),
            "projected",
        )
        for name, part in speed.items()
        if name.startswith(start)
        for row in part["rows"]
    ]
    head = ("encoder and device", "machine", "precision", *columns, "how known")
    sizes = (
        "The paper's study is taken as 742 concepts with 4.9 prompts each (the paper gives the"
        " concepts; their prompts are an assumption), ParaRel as 253,448 prompts"
    )
    return f"{table(head, rows)}\n{sizes}.\n"


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _machine(part: dict[str, Any]) -> str:
    machine = part["machine"]
    return f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}"
