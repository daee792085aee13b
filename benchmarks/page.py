"""Size and opening time of the report's page, of a study as large as the paper's.

    python benchmarks/page.py

A run folder of 742 concepts and 5,000 prompts is written with drawn numbers, reported, and opened
in a headless Chromium.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from playwright.sync_api import Browser, sync_playwright
from setting import arguments, keep

from kn_lightning.keys import KEYS
from kn_lightning.report import write_report
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import OPTIONAL_TABLES, SCHEMA_VERSION, SKIPPED_TABLE, TABLES

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LAYERS = (7, 8, 3, 22, 8, 38, 32, 216, 565, 722, 1184, 1880)
"""Knowledge neurons of bert-base-uncased in each layer, as the paper's authors published them."""
N_NEURONS = 3072
EDITS = {"suppress": 0.6, "amplify": 1.8, "factor:0.5": 0.8, "factor:5": 3.0}
"""What is left of a probability, about."""
SOURCES = ("knowledge", "random:0", "random:1", "random:2", "activation", "foreign")
K = 10
"""Tokens and prompts of --refine.values."""
ROUNDS = 5

Tables = dict[str, pa.Table]


def tables(n_concepts: int, n_prompts: int) -> Tables:
    """A study's tables, with all edits, controls and value vectors."""
    draw = np.random.default_rng(0)
    words = [f"word{number}" for number in range(3000)]
    names = [f"concept{number:03}" for number in range(n_concepts)]
    sizes = [len(part) for part in np.array_split(np.arange(n_prompts), n_concepts)]
    ids = [[f"{name}/{i}" for i in range(n)] for name, n in zip(names, sizes, strict=True)]
    weights = np.array(LAYERS) / sum(LAYERS)
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("prompts", "completeness", "coarse", "neurons", "edits", "values")
    }
    for number, (name, prompts) in enumerate(zip(names, ids, strict=True)):
        before = draw.uniform(0.01, 0.9, len(prompts))
        places = sorted(
            # Some neurons serve many concepts.
            {
                (int(layer), int(N_NEURONS * draw.uniform() ** 3))
                for layer in draw.choice(len(LAYERS), draw.poisson(5.7) + 1, p=weights)
            }
        )
        for prompt, probability in zip(prompts, before, strict=True):
            sentence = " ".join(draw.choice(words, 8))
            row = {"prompt_id": prompt, "concept": name, "prompt": f"[MASK] {sentence}."}
            row |= {"relation": f"relation{number % 16}", "pos": ("noun", "verb")[number % 4 == 0]}
            row |= {"n_tokens": 12, "probability": probability, "rank": 1, "argmax": name}
            rows["prompts"].append(row | {"max_score": 0.1, "n_coarse": 5, "evaluations": 50})
            for layer in range(len(LAYERS)):
                whole = {"prompt_id": prompt, "layer": layer, "total": 0.1}
                rows["completeness"].append(whole | {"residual": draw.normal(0, 1e-4)})
        for layer, neuron in places:
            place = {"layer": layer, "neuron": neuron}
            rows["coarse"] += [{"prompt_id": prompt, **place, "score": 0.1} for prompt in prompts]
            score = {"share": draw.uniform(0.5, 1), "score": draw.uniform(0.01, 0.3)}
            rows["neurons"].append({"concept": name, **place, **score})
            for source in SOURCES[:4]:
                value = {"concept": name, "neurons": source, **place, "answer": name}
                value |= {"activation": draw.normal(), "rank": int(draw.integers(1, 30000))}
                ends = {end: draw.choice(words, K).tolist() for end in ("promoted", "demoted")}
                rows["values"].append(value | ends)
        rows["edits"] += edits(draw, names, number, ids, before, len(places))
    found = {
        name: pa.Table.from_pylist(each, schema={**TABLES, **OPTIONAL_TABLES}[name])
        for name, each in rows.items()
    }
    return found | {KEYS: keys(draw, n_prompts)}


def edits(
    draw: np.random.Generator,
    names: list[str],
    number: int,
    ids: list[list[str]],
    before: np.ndarray,
    n_neurons: int,
) -> list[dict[str, Any]]:
    """A concept's rows: own prompts with all sets of neurons, all others with its own."""
    asked = [(prompt, "related", p) for prompt, p in zip(ids[number], before, strict=True)]
    kinds = {
        "unrelated": ids[0][:4],
        "other": [ids[(number + i) % len(ids)][0] for i in range(1, 9)],
    }
    further = [(prompt, kind, 0.4) for kind, prompts in kinds.items() for prompt in prompts]
    rows = []
    for edit, left in EDITS.items():
        for source in SOURCES:
            for prompt, kind, p in asked + further * (source == "knowledge"):
                by = left if (source, kind) == ("knowledge", "related") else 1
                after = min(1, p * by * draw.uniform(0.9, 1.1))
                row = {"concept": names[number], "prompt_id": prompt, "prompt_kind": kind}
                row |= {"edit": edit, "neurons": source, "n_neurons": n_neurons}
                for time_of, value in (("before", p), ("after", after)):
                    row |= {f"probability_{time_of}": value, f"rank_{time_of}": 1}
                    row |= {f"log_odds_{time_of}": value, f"argmax_{time_of}": names[number]}
                rows.append(row)
    return rows


def keys(draw: np.random.Generator, n_prompts: int) -> pa.Table:
    """Of each neuron, the prompts that activate it most."""
    n = len(LAYERS) * N_NEURONS
    columns = {
        "prompt": draw.integers(n_prompts, size=n * K).astype(np.int32),
        "activation": draw.uniform(1, 3, n * K).astype(np.float32),
    }
    return pa.table(
        {
            "layer": np.repeat(np.arange(len(LAYERS), dtype=np.int32), N_NEURONS),
            "neuron": np.tile(np.arange(N_NEURONS, dtype=np.int32), len(LAYERS)),
            **{
                name: pa.FixedSizeListArray.from_arrays(pa.array(column), K)
                for name, column in columns.items()
            },
        }
    )


def environment(n_concepts: int, n_prompts: int) -> dict[str, Any]:
    """What a run says of itself."""
    encoder = {"id": "bert-base-uncased", "revision": None, "model_type": "bert"}
    encoder |= {"n_layers": len(LAYERS), "n_neurons": N_NEURONS, "hidden_size": 768}
    study = {"rule": "adaptive", "nodes": None, "tolerance": 0.01, "path": "layer", "values": K}
    study |= {"threshold": 0.2, "share": 0.5, "inclusive": True, "factors": [0, 2, 0.5, 5]}
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": {"kn_lightning": "benchmark"},
        "platform": sys.platform,
        "device": "none",
        "devices": 1,
        "precision": "32-true",
        "encoder": encoder | {"vocabulary": 30522},
        "data": {"class": "drawn", "sha256": "", "groups": n_concepts, "prompts": n_prompts},
        "study": study | {"unrelated": "concept000"},
    }


def opened(browser: Browser, page_path: Path, name: str, neuron: str) -> dict[str, float]:
    """Seconds until the page is loaded, and milliseconds of what a reader then does."""
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    began = time.perf_counter()
    page.goto(page_path.as_uri(), wait_until="load")
    page.wait_for_selector("#explorer-list tbody a")
    seconds = {"load": time.perf_counter() - began}
    # A frame is drawn behind each, and its layout asked for.
    measure = """async (act) => {
        const began = performance.now();
        eval(act);
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        return performance.now() - began;
    }"""
    field = "document.getElementById('explorer-search')"
    acts = {
        "concept": f"location.hash = '#concept={name}'",
        "neuron": f"location.hash = '#neuron={neuron}'",
        "search": f"{field}.value = '7'; {field}.dispatchEvent(new Event('input'))",
    }
    seconds |= {kind: page.evaluate(measure, act) for kind, act in acts.items()}
    assert page.locator("#explorer-view h3").text_content()
    page.close()
    return seconds


def main() -> None:
    """Write, report, open, keep."""
    parser = arguments(__doc__)
    options = parser.parse_args()
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is installed")
    n_concepts, n_prompts = (20, 100) if options.quick else (742, 5000)
    with tempfile.TemporaryDirectory() as name:
        run = RunFolder(Path(name) / "run")
        about, study = environment(n_concepts, n_prompts), tables(n_concepts, n_prompts)
        run.open({}, about, SKIPPED_TABLE.empty_table(), {"refine.values": K})
        run.write_part(0, study, {})
        run.close(1)
        began = time.perf_counter()
        report = write_report(run.path)
        seconds = time.perf_counter() - began
        data = report.read_text(encoding="utf-8").partition('id="explorer-data">')[2]
        neuron = "-".join(str(study["neurons"][column][0]) for column in ("layer", "neuron"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            version = browser.version
            found = [opened(browser, report, "concept001", neuron) for _ in range(ROUNDS)]
            browser.close()
        row = {
            "concepts": n_concepts,
            "prompts": n_prompts,
            "rows of edits": len(study["edits"]),
            "page MB": report.stat().st_size / 1e6,
            "of it embedded data MB": len(data.partition("</script>")[0].encode()) / 1e6,
            "seconds to write the report": seconds,
            "seconds to open": statistics.median(each["load"] for each in found),
            "worst": max(each["load"] for each in found),
            **{
                f"ms to {act}": statistics.median(each[kind] for each in found)
                for kind, act in (
                    ("concept", "show a concept"), ("neuron", "show a neuron"), ("search", "search")
                )
            },
        }  # fmt: skip
    keep("page", "a study of the paper's size", [row], options.quick, chromium=version)


if __name__ == "__main__":
    main()
