"""``python analyze.py``: the files and columns that users' scripts rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from callbacks.commands import (
    Finished,
    Row,
    analyze,
    command,
    no_report,
    real_command,
    refused,
    table,
    write_jsonl,
)

SMALL = ("--data.max_groups", 6)
"""The first six concepts of the testbed: 72 prompts."""

COLUMNS = {
    "prompts": "prompt_id concept prompt relation pos n_tokens probability rank argmax max_score"
    " n_coarse evaluations similarity similarity_between",
    "completeness": "prompt_id layer total residual",
    "coarse": "prompt_id layer neuron score",
    "neurons": "concept layer neuron share score",
    "edits": "concept prompt_id prompt_kind edit neurons n_neurons probability_before"
    " probability_after log_odds_before log_odds_after rank_before rank_after argmax_before"
    " argmax_after",
    "skipped": "concept prompt reason",
}
"""The contract, written out by hand."""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A small study by a real command line, with one hash seed."""
    run_dir = tmp_path_factory.mktemp("study") / "run"
    # Another number of threads would round another way.
    like_here = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONHASHSEED": "1"}
    done = real_command("analyze.py", *SMALL, "--run_dir", run_dir, **like_here)
    return run_dir, done


@pytest.fixture(scope="module")
def run_dir(first: tuple[Path, Finished]) -> Path:
    """Its run folder."""
    return first[0]


@pytest.mark.slow
def test_command_line_ends_well_and_says_where_results_are(first: tuple[Path, Finished]) -> None:
    run_dir, done = first
    assert done.code == 0, done.err
    assert str(run_dir) in done.out
    assert str(run_dir / "report.html") in done.out
    assert "Traceback" not in done.err


def test_run_folder_holds_every_file_of_the_contract(run_dir: Path) -> None:
    files = {path.name for path in run_dir.iterdir()}
    tables = {f"{name}.parquet" for name in COLUMNS}
    others = {"config.yaml", "environment.json", "summary.json", "report.html", "report.md"}
    assert files == tables | others | {"figures"}  # and no parts, no temporary files
    figures = {path.name for path in (run_dir / "figures").iterdir()}
    assert figures
    assert {name[:-3] + "svg" for name in figures if name.endswith("png")} == {
        name for name in figures if name.endswith("svg")
    }


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_have_exactly_the_columns_of_the_contract(run_dir: Path, name: str) -> None:
    assert pq.read_schema(run_dir / f"{name}.parquet").names == COLUMNS[name].split()


def test_tables_agree_with_each_other(run_dir: Path) -> None:
    prompts = table(run_dir, "prompts")
    ids = [row["prompt_id"] for row in prompts]
    assert len(set(ids)) == len(ids) == 72
    n_coarse = dict.fromkeys(ids, 0)
    largest: dict[Any, float] = {}
    for row in table(run_dir, "coarse"):
        n_coarse[row["prompt_id"]] += 1
        largest[row["prompt_id"]] = max(largest.get(row["prompt_id"], -1.0), row["score"])
    for prompt in prompts:
        assert prompt["n_coarse"] == n_coarse[prompt["prompt_id"]]
        # The best neuron is coarse by definition wherever there is a positive score.
        if prompt["max_score"] > 0:
            assert largest[prompt["prompt_id"]] == prompt["max_score"]
    concepts = {row["concept"] for row in prompts}
    assert len(concepts) == 6
    assert {row["concept"] for row in table(run_dir, "edits")} == concepts
    layers = [(row["prompt_id"], row["layer"]) for row in table(run_dir, "completeness")]
    assert layers == [(prompt_id, layer) for prompt_id in ids for layer in range(4)]


def test_completeness_residual_keeps_the_tolerance(run_dir: Path) -> None:
    by_prompt: dict[Any, list[Row]] = {}
    for row in table(run_dir, "completeness"):
        by_prompt.setdefault(row["prompt_id"], []).append(row)
    for rows in by_prompt.values():
        largest = max(abs(row["total"]) for row in rows)
        # Nodes run out at 64; none of these needs so many.
        assert max(abs(row["residual"]) for row in rows) <= 0.01 * largest * 1.001


def test_environment_says_what_was_computed_where(run_dir: Path) -> None:
    environment = json.loads((run_dir / "environment.json").read_text())
    assert environment["schema_version"] == 1
    assert environment["versions"]["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert environment["precision"] == "32-true"
    encoder, data = environment["encoder"], environment["data"]
    assert (encoder["n_layers"], encoder["n_neurons"], encoder["hidden_size"]) == (4, 512, 128)
    assert len(encoder["weights_sha256"]) == len(data["sha256"]) == 64
    assert (data["class"], data["groups"], data["prompts"]) == ("EmbeddedPrompts", 6, 72)
    seconds = environment["seconds"]
    assert 0 < seconds["attribution"] + seconds["edits"] < seconds["total"]


def test_kept_config_repeats_the_study(run_dir: Path, tmp_path: Path) -> None:
    again = analyze(tmp_path / "again", "--config", run_dir / "config.yaml")
    for name in COLUMNS:
        assert table(again, name) == table(run_dir, name)
    kept = [yaml.safe_load((folder / "config.yaml").read_text()) for folder in (run_dir, again)]
    assert kept[0] == kept[1]
    assert kept[0]["data"]["init_args"]["max_groups"] == 6


def test_same_command_twice_gives_identical_tables_whatever_the_hash_seed(
    run_dir: Path, tmp_path: Path
) -> None:
    # The fixture's process had PYTHONHASHSEED=1, this one has pytest's own.
    again = analyze(tmp_path / "again", *SMALL)
    for name in COLUMNS:
        assert pq.read_table(again / f"{name}.parquet").equals(
            pq.read_table(run_dir / f"{name}.parquet")
        ), name


def test_finished_study_is_kept_when_its_command_runs_again(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in run_dir.glob("*.parquet")}
    monkeypatch.setattr(
        "kn_lightning.module.attribute_encoded", mock.Mock(side_effect=AssertionError)
    )
    with no_report():
        done = command("analyze.py", *SMALL, "--run_dir", run_dir)
    assert done.code == 0, done.err
    assert {path: path.read_bytes() for path in run_dir.glob("*.parquet")} == before
    assert not (run_dir / "parts").exists()


def test_report_draws_the_same_bytes_again_without_a_model(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [run_dir / name for name in ("report.html", "report.md", "summary.json")]
    made += sorted((run_dir / "figures").iterdir())
    before = {path: path.read_bytes() for path in made}
    for path in made:
        path.unlink()
    forbidden = mock.Mock(side_effect=AssertionError("the report loads no model"))
    # The module first: an import of it now would keep what is put into loading.
    monkeypatch.setattr("kn_lightning.module.load_encoder", forbidden)
    monkeypatch.setattr("kn_lightning.encoders.loading.load_encoder", forbidden)
    monkeypatch.setattr("torch.nn.Module.__init__", forbidden)
    done = command("analyze.py", "report", run_dir)
    assert (done.code, done.err) == (0, "")
    assert str(run_dir / "report.html") in done.out
    assert {path: path.read_bytes() for path in made} == before
    assert len(made) > 5


def test_folder_of_another_study_is_refused_with_the_differing_keys(run_dir: Path) -> None:
    before = {path: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}
    settings = ("--refine.threshold", 0.3, "--edit.others", 2)
    done = command("analyze.py", *SMALL, *settings, "--run_dir", run_dir)
    line = refused(done, run_dir, "refine.threshold", "0.2", "0.3", "edit.others")
    assert "refine.share" not in line
    assert {path: path.read_bytes() for path in run_dir.iterdir() if path.is_file()} == before


def test_skipped_lists_answers_that_are_no_single_token(tmp_path: Path) -> None:
    own = [f"the [MASK] runs here {number}." for number in range(2)]
    data = write_jsonl(
        tmp_path / "own.jsonl",
        {"concept": "kitten", "prompts": ["[MASK] is a young cat.", "[MASK]s are here."]},
        {"concept": "zyzzyva", "prompts": own},
        {"concept": "Ψ", "prompts": ["[MASK] is greek.", "this is [MASK]."], "pos": "noun"},
    )
    run = analyze(tmp_path / "run", "--data", "JsonlPrompts", "--data.path", data)
    assert {row["concept"] for row in table(run, "prompts")} == {"kitten"}
    skipped = table(run, "skipped")
    assert [(row["concept"], row["prompt"]) for row in skipped] == [
        ("kitten", "[MASK]s are here."),
        ("zyzzyva", None),
        ("Ψ", None),
    ]
    reasons = [str(row["reason"]) for row in skipped]
    assert "tokens, not one" in reasons[1]
    assert "not in the vocabulary" in reasons[2]


def test_unrelated_prompts_are_the_datas_own_even_beyond_the_groups_asked_for(
    run_dir: Path,
) -> None:
    unrelated = {
        str(row["prompt_id"])
        for row in table(run_dir, "edits")
        if row["prompt_kind"] == "unrelated"
    }
    assert len(unrelated) == 12
    assert all(prompt_id.startswith("london/") for prompt_id in unrelated)
    environment = json.loads((run_dir / "environment.json").read_text())
    assert environment["study"]["unrelated"] == "london"
