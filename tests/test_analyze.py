"""``python analyze.py``: flags, files and columns that users' scripts rely on, and how it fails."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from callbacks.commands import (
    Finished,
    analyze,
    command,
    no_report,
    real_command,
    table,
    write_jsonl,
)
from safetensors.torch import load_file

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

Row = dict[str, Any]


def refused(done: Finished, *words: object) -> str:
    """The one line in which a command was refused."""
    assert done.code == 2, done
    (line,) = done.err.strip().splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in done.err + done.out
    for word in words:
        assert str(word) in line
    return line


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


def test_help_and_print_config_show_every_flag_of_the_contract() -> None:
    done = command("analyze.py", "--help")
    assert done.code == 0
    flags = "model.encoder model.answers model.rule model.nodes model.tolerance model.path"
    flags += " model.attribution model.compare refine.threshold refine.share refine.inclusive"
    flags += " edit.factors edit.unrelated edit.others edit.control_seeds edit.holdout edit.top"
    flags += " edit.weights edit.lambda_1 edit.lambda_2 write.scores trainer.precision run_dir"
    flags += " config data"
    for flag in flags.split():
        assert f"--{flag}" in done.out, flag
    done = command("analyze.py", "--print_config")
    assert done.code == 0
    config = yaml.safe_load(done.out)
    assert config["model"]["encoder"] == "embedded"
    assert config["model"]["answers"] == "single"
    assert config["model"]["rule"] == "adaptive"
    assert config["model"]["tolerance"] == 0.001
    refine = {"threshold": 0.2, "share": 0.5, "inclusive": True}
    assert config["refine"] == refine | {
        "size": None,
        "neurons": None,
        "facts": None,
        "values": None,
    }
    edit = {"factors": [0.0, 2.0], "unrelated": "london", "others": 8, "control_seeds": 3}
    edit |= {"unrelated_prompts": None, "controls": ["activation", "foreign"], "max_prompts": None}
    edit |= {"weights": None, "lambda_1": 1.0, "lambda_2": 8.0}
    assert config["edit"] == edit | {"holdout": 0.0, "top": None, "seed": 0}
    assert config["trainer"]["inference_mode"] is False


def test_printed_config_is_accepted_as_a_config(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(command("analyze.py", "--print_config").out)
    again = command("analyze.py", "--config", file, "--print_config")
    assert again.code == 0, again.err
    assert yaml.safe_load(again.out) == yaml.safe_load(file.read_text())


def test_later_config_wins_and_flags_behind_it_win_over_both(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("refine: {threshold: 0.3, share: 0.7}\nedit: {others: 5}\n")
    two.write_text("refine: {threshold: 0.4}\n")

    def settings(*arguments: object) -> dict[str, Any]:
        done = command("analyze.py", *arguments, "--print_config")
        assert done.code == 0, done.err
        config: dict[str, Any] = yaml.safe_load(done.out)
        return config

    forward = settings("--config", one, "--config", two)
    assert (forward["refine"]["threshold"], forward["refine"]["share"]) == (0.4, 0.7)
    assert forward["edit"]["others"] == 5
    assert settings("--config", two, "--config", one)["refine"]["threshold"] == 0.3
    flag = settings("--config", one, "--config", two, "--refine.threshold", 0.6)
    assert flag["refine"]["threshold"] == 0.6


def test_every_quadrature_rule_is_a_flag() -> None:
    rules = "adaptive gauss_legendre gauss_lobatto trapezoid linspace"
    rules += " riemann_left riemann_right riemann_midpoint"
    line = refused(command("analyze.py", "--model.rule", "simpson"), "simpson")
    for rule in rules.split():
        assert rule in line


def test_folder_of_another_study_is_refused_with_the_differing_keys(run_dir: Path) -> None:
    before = {path: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}
    settings = ("--refine.threshold", 0.3, "--edit.others", 2)
    done = command("analyze.py", *SMALL, *settings, "--run_dir", run_dir)
    line = refused(done, run_dir, "refine.threshold", "0.2", "0.3", "edit.others")
    assert "refine.share" not in line
    assert {path: path.read_bytes() for path in run_dir.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_bad_input_in_a_real_process_is_exit_code_2_and_one_line() -> None:
    done = real_command("analyze.py", "--refine.threshold", "2")
    refused(done, "refine.threshold", "2")
    assert done.out == ""


@pytest.mark.parametrize("arguments", [[], ["one", "two"], ["one", "--language", "ja"]])
def test_report_wants_one_run_folder(arguments: list[str]) -> None:
    refused(command("analyze.py", "report", *arguments))


@pytest.mark.parametrize(
    ("arguments", "language"), [([], "en"), (["--report.language", "ja"], "ja")]
)
def test_report_speaks_the_language_asked_for(arguments: list[str], language: str) -> None:
    with mock.patch("kn_lightning.report.write_report") as write_report:
        assert command("analyze.py", "report", "some/run", *arguments).code == 0
    write_report.assert_called_once_with(Path("some/run"), language)


def test_study_reports_in_the_language_of_its_config(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("report:\n  language: ja\n", encoding="utf-8")
    run_dir = tmp_path / "run"
    arguments = ("--config", config, "--data.max_groups", 1, "--run_dir", run_dir)
    with (
        mock.patch("kn_lightning.report.write_report") as write_report,
        mock.patch("kn_lightning.report.fonts.cjk_font", return_value="Some Gothic"),
    ):
        assert command("analyze.py", *arguments).code == 0
    write_report.assert_called_once_with(run_dir, "ja")


def test_language_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    arguments = ("--run_dir", tmp_path / "run", "--report.language")
    refused(command("analyze.py", *arguments, "fr"), "report.language 'fr'", "en, ja")
    with mock.patch("kn_lightning.report.fonts.cjk_font", return_value=None):
        refused(command("analyze.py", *arguments, "ja"), "pip install matplotlib-fontja")
    assert list(tmp_path.iterdir()) == []


def test_report_of_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    refused(command("analyze.py", "report", tmp_path), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_run_dir_each_study_has_a_folder_of_its_own(tmp_path: Path) -> None:
    with no_report():
        for share in (0.5, 0.5, 1.0):
            arguments = ("--data.max_groups", 1, "--refine.share", share)
            assert command("analyze.py", *arguments, cwd=tmp_path).code == 0
    folders = list((tmp_path / "runs").iterdir())
    assert len(folders) == 2
    assert all("embedded" in folder.name for folder in folders)


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


def by_key(rows: list[Row], *keys: str) -> dict[tuple[object, ...], Row]:
    """Rows by what identifies them."""
    found = {tuple(row[key] for key in keys): row for row in rows}
    assert len(found) == len(rows)
    return found


def borderline(run: Path, other: Path) -> set[object]:
    """Prompts of which a score lies within 1e-5 of the border of coarse neurons."""
    near = set()
    largest = {row["prompt_id"]: row["max_score"] for row in table(run, "prompts")}
    sets = [
        by_key(table(folder, "coarse"), "prompt_id", "layer", "neuron") for folder in (run, other)
    ]
    for key in sets[0].keys() ^ sets[1].keys():
        score = (sets[0].get(key) or sets[1][key])["score"]
        assert score == pytest.approx(0.2 * largest[key[0]], abs=1e-5)
        near.add(key[0])
    return near


def test_packing_changes_results_by_rounding_alone(run_dir: Path, tmp_path: Path) -> None:
    packed = analyze(tmp_path / "run", *SMALL, "--data.pack_tokens", 100)
    theirs = by_key(table(run_dir, "prompts"), "prompt_id")
    ours = by_key(table(packed, "prompts"), "prompt_id")
    assert list(ours) == list(theirs)
    for key, row in ours.items():
        assert row["probability"] == pytest.approx(theirs[key]["probability"], abs=1e-5)
        assert row["argmax"] == theirs[key]["argmax"]
    near = {str(prompt_id).split("/")[0] for prompt_id in borderline(run_dir, packed)}
    keys = ("concept", "layer", "neuron")
    sure = [
        {key for key in by_key(table(folder, "neurons"), *keys) if key[0] not in near}
        for folder in (run_dir, packed)
    ]
    assert sure[0] == sure[1]
    keys = ("concept", "prompt_id", "prompt_kind", "edit", "neurons")
    theirs, ours = (by_key(table(folder, "edits"), *keys) for folder in (run_dir, packed))
    assert list(ours) == list(theirs)
    for key, row in ours.items():
        if key[0] not in near:
            for column in ("probability_before", "probability_after"):
                assert row[column] == pytest.approx(theirs[key][column], abs=1e-5)


def test_path_neuron_scores_are_the_exact_effects_of_single_neurons(
    run_dir: Path, tmp_path: Path, ablated: Callable[[str, str, int, int], float]
) -> None:
    flags = ("--data.max_groups", 1, "--model.path", "neuron", "--model.candidates", 9)
    run = analyze(tmp_path / "run", *flags)
    prompts = by_key(table(run, "prompts"), "prompt_id")
    coarse = table(run, "coarse")
    assert 0 < len(coarse) <= 9 * len(prompts)
    for row in coarse[::7]:
        prompt = prompts[(row["prompt_id"],)]
        after = ablated(str(prompt["prompt"]), str(prompt["concept"]), row["layer"], row["neuron"])
        assert row["score"] == pytest.approx(prompt["probability"] - after, abs=2e-6)
    layered = by_key(table(run_dir, "prompts"), "prompt_id")
    for key, prompt in prompts.items():
        assert prompt["evaluations"] == layered[key]["evaluations"] + 9


@pytest.fixture(scope="module")
def ablated() -> Callable[[str, str, int, int], float]:
    """P of an answer with one neuron at 0, by transformers and a hook written here."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from kn_lightning.encoders.loading import EMBEDDED_FOLDER

    model = AutoModelForMaskedLM.from_pretrained(EMBEDDED_FOLDER).eval()
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)

    def probability(text: str, answer: str, layer: int, neuron: int) -> float:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        position = ids[0].tolist().index(tokenizer.mask_token_id)

        def zero(_: object, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            changed = args[0].clone()
            changed[0, position, neuron] = 0
            return (changed,)

        hook = model.bert.encoder.layer[layer].output.dense.register_forward_pre_hook(zero)
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, position]
        hook.remove()
        return float(logits.softmax(-1)[tokenizer.convert_tokens_to_ids(answer)])

    return probability


def test_holdout_measures_edits_on_half_of_the_prompts(tmp_path: Path) -> None:
    run = analyze(tmp_path / "run", "--data.max_groups", 2, "--edit.holdout", 0.5)
    prompts: dict[object, set[object]] = {}
    for row in table(run, "prompts"):
        prompts.setdefault(row["concept"], set()).add(row["prompt_id"])
    for concept, own in prompts.items():
        measured = {
            row["prompt_id"]
            for row in table(run, "edits")
            if row["concept"] == concept and row["prompt_kind"] == "related"
        }
        assert measured < own
        assert len(measured) == len(own) / 2
        refined = own - measured
        shares = [row["share"] for row in table(run, "neurons") if row["concept"] == concept]
        for share in shares:  # counted in the other half alone
            assert share * len(refined) == pytest.approx(round(share * len(refined)), abs=1e-5)
            assert share >= 0.5


def test_kept_scores_are_those_of_the_tables(tmp_path: Path) -> None:
    flags = ("--data.max_groups", 3, "--data.pack_tokens", 200, "--write.scores", "true")
    run = analyze(tmp_path / "run", *flags)
    scores: dict[str, torch.Tensor] = {}
    for file in sorted((run / "scores").iterdir()):
        scores |= load_file(file)
    prompts = table(run, "prompts")
    assert sum(map(len, scores.values())) == len(prompts)
    sums = by_key(table(run, "completeness"), "prompt_id", "layer")
    seen: dict[str, int] = {}
    for prompt in prompts:
        concept = str(prompt["concept"])
        own = scores[concept][seen.get(concept, 0)]
        seen[concept] = seen.get(concept, 0) + 1
        assert own.shape == (4, 512)
        assert float(own.max()) == pytest.approx(prompt["max_score"], rel=1e-6)
        for layer in range(4):
            row = sums[prompt["prompt_id"], layer]
            assert float(own[layer].sum()) == pytest.approx(
                row["total"] + row["residual"], abs=1e-6
            )


@pytest.mark.slow
def test_bf16_runs_and_keeps_probabilities_near_those_of_float32(
    run_dir: Path, tmp_path: Path
) -> None:
    run = analyze(tmp_path / "run", "--data.max_groups", 2, "--trainer.precision", "bf16-mixed")
    exact = by_key(table(run_dir, "prompts"), "prompt_id")
    rows = table(run, "prompts")
    differences = [abs(r["probability"] - exact[(r["prompt_id"],)]["probability"]) for r in rows]
    assert 0 < max(differences) < 0.1  # another precision indeed, and not another answer
    assert all(math.isfinite(row["max_score"]) for row in rows)
    # What edits start from comes of passes of other sizes, which round another way in bf16.
    edits = table(run, "edits")
    assert all(0 <= row["probability_after"] <= 1 for row in edits)
    before = {
        row["prompt_id"]: row["probability_before"]
        for row in edits
        if row["prompt_kind"] == "related"
    }
    for row in rows:
        assert before[row["prompt_id"]] == pytest.approx(row["probability"], abs=2e-3)


def two_ranks(run: Path, strategy: str, *arguments: object) -> Path:
    """A study on two processes."""
    flags = ("--trainer.devices", 2, "--trainer.accelerator", "cpu")
    done = real_command(
        "analyze.py", *flags, "--trainer.strategy", strategy, *arguments, "--run_dir", run
    )
    assert done.code == 0, done.err
    # The first rank alone draws the report.
    assert done.out.count("results: ") == 1
    assert "error: " not in done.err
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "groups"),
    # One concept is one pack: the second rank has none.
    [("ddp", 4), ("ddp_spawn", 1)],
)
def test_two_ranks_give_what_one_device_gives(tmp_path: Path, strategy: str, groups: int) -> None:
    study = ("--data.max_groups", groups, "--data.pack_tokens", 350, "--refine.values", 3)
    one = analyze(tmp_path / "one", *study)
    prompts = table(one, "prompts")
    if groups > 1:  # more packs than one, of more concepts than one
        assert sum(row["n_tokens"] for row in prompts) > 350
        assert all(row["similarity_between"] is not None for row in prompts)
    two = two_ranks(tmp_path / "two", strategy, *study)
    for name in (*COLUMNS, "values"):
        assert table(two, name) == table(one, name), name
    assert json.loads((two / "environment.json").read_text())["devices"] == 2


@pytest.mark.filterwarnings("ignore")  # Lightning's own: workers, LeafSpec
def test_trainer_in_inference_mode_is_told_what_to_change(tmp_path: Path) -> None:
    from lightning import Trainer

    from kn_lightning.data.sources import EmbeddedPrompts
    from kn_lightning.module import MaskedLanguageModel

    trainer = Trainer(
        inference_mode=True,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    with pytest.raises(RuntimeError, match=r"Trainer\(inference_mode=False\)"):
        trainer.predict(MaskedLanguageModel(), datamodule=EmbeddedPrompts(max_groups=1))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_whole_model_in_another_precision_runs(
    tmp_path: Path, run_dir: Path, precision: str
) -> None:
    run = analyze(tmp_path / "run", "--data.max_groups", 2, "--trainer.precision", precision)
    exact = by_key(table(run_dir, "prompts"), "prompt_id")
    for row in table(run, "prompts"):
        assert row["probability"] == pytest.approx(
            exact[(row["prompt_id"],)]["probability"], abs=1e-5 if precision == "64-true" else 0.15
        )
        assert row["evaluations"] <= 40  # rounding is no reason to climb to the last level


def test_unknown_unrelated_concept_is_refused_not_replaced(tmp_path: Path) -> None:
    flags = ["--data.max_groups", 2, "--edit.unrelated", "nonsense", "--run_dir", tmp_path / "run"]
    refused(command("analyze.py", *flags), "nonsense")


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


def test_gpu_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with mock.patch("torch.cuda.device_count", return_value=0):
        flags = ("--trainer.accelerator", "gpu", "--run_dir", tmp_path / "run")
        refused(command("analyze.py", *flags), "gpu")
    assert not (tmp_path / "run").exists()
