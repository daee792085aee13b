"""Answers of several tokens, from the flag and from Python to the tables: one mask for each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from callbacks.commands import analyze, command, no_report, table, write_jsonl
from encoders.tiny import PROMPTS

from kn_lightning import attribute, load_encoder
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError

PAIRS = [
    *PROMPTS[:3],
    ("they were [MASK] on the farm.", "young cat"),
    ("the [MASK] is small.", "small young cat"),
]
TEXTS, ANSWERS = [text for text, _ in PAIRS], [answer for _, answer in PAIRS]
GROUPS = (
    {"concept": "kitten", "prompts": ["a [MASK] is small.", "[MASK] is a young cat."]},
    {"concept": "small cat", "prompts": ["a [MASK] is here.", "[MASK] is a young dog."]},
    {"concept": "cat", "prompts": ["a [MASK] is young.", "the [MASK] is big."]},
)


def plain(encoder: Encoder, text: str, answer: str) -> tuple[float, int, list[int]]:
    """Probability, worst rank and best tokens where every word of the answer is masked by hand."""
    tokenizer = encoder.tokenizer
    masks = " ".join([str(tokenizer.mask_token)] * len(answer.split()))
    ids = torch.tensor(tokenizer(text.replace("[MASK]", masks)).input_ids)
    with torch.no_grad():
        logits = encoder.model(input_ids=ids[None]).logits[0][ids == tokenizer.mask_token_id]
    own = torch.tensor(tokenizer.convert_tokens_to_ids(answer.split()))[:, None]
    ranks = (logits > logits.gather(1, own)).sum(1) + 1
    probability = logits.softmax(-1).gather(1, own).prod()
    return probability.item(), int(ranks.max()), logits.argmax(1).tolist()


def test_attribution_of_several_tokens_adds_up_and_is_of_the_product(bert64: Encoder) -> None:
    result = attribute(bert64, TEXTS, ANSWERS, tolerance=0.001, several=True)
    for row, (text, answer) in enumerate(PAIRS):
        probability, rank, best = plain(bert64, text, answer)
        assert result.probability[row].item() == pytest.approx(probability, rel=1e-9)
        assert result.rank[row] == rank
        assert result.argmax[row].tolist() == best + [-1] * (3 - len(best))
    torch.testing.assert_close(result.scores.sum(-1) - result.total, result.residual)
    assert (result.residual.abs() <= 0.001 * result.total.abs().amax(1, keepdim=True)).all()


def test_answers_of_one_token_are_attributed_as_without_the_option(bert: Encoder) -> None:
    texts, answers = TEXTS[:3], ANSWERS[:3]
    one, many = attribute(bert, texts, answers), attribute(bert, texts, answers, several=True)
    assert torch.equal(one.scores, many.scores)
    assert torch.equal(one.argmax, many.argmax)


def test_without_the_option_the_number_of_tokens_is_said(bert: Encoder) -> None:
    with pytest.raises(InputError, match="prompt 3 .*'young cat': the answer is 2 tokens, not one"):
        attribute(bert, TEXTS, ANSWERS)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    """A study of concepts of one and of two tokens, and its flags."""
    folder = tmp_path_factory.mktemp("several")
    file = write_jsonl(folder / "groups.jsonl", *GROUPS)
    flags = ["--data", "JsonlPrompts", "--data.path", file, "--edit.others", 2]
    return analyze(folder / "run", *flags, "--model.answers", "multi"), flags


def test_study_of_several_tokens_has_the_answers_of_plain_passes(
    study: tuple[Path, list[object]],
) -> None:
    encoder = load_encoder("embedded")
    rows = table(study[0], "prompts")
    assert [row["concept"] for row in rows] == ["kitten"] * 2 + ["small cat"] * 2 + ["cat"] * 2
    before = {}
    for row in rows:
        probability, rank, best = plain(encoder, str(row["prompt"]), str(row["concept"]))
        assert row["probability"] == pytest.approx(probability, rel=1e-4)
        assert row["rank"] == rank
        assert row["argmax"] == " ".join(encoder.tokenizer.convert_ids_to_tokens(best))
        before[row["prompt_id"]] = row
    edits = table(study[0], "edits")
    assert {row["concept"] for row in edits} == {"kitten", "small cat", "cat"}
    for row in edits:
        own = before.get(row["prompt_id"])
        if own is not None:
            assert row["probability_before"] == pytest.approx(own["probability"], rel=1e-4)
            assert row["argmax_before"] == own["argmax"]
    changed = [row for row in edits if row["prompt_id"] == "small cat/0" and row["n_neurons"]]
    assert any(row["probability_after"] != row["probability_before"] for row in changed)


@pytest.mark.parametrize("new", [(), ("--new", "kitten")])
def test_an_answer_of_several_tokens_can_be_erased_for_good_but_not_updated(
    study: tuple[Path, list[object]], tmp_path: Path, new: tuple[str, ...]
) -> None:
    asked = ("edit", study[0], tmp_path / "edited", "--concepts", "small cat", "--weights")
    done = command("analyze.py", *asked, "update", *new)
    assert done.code == 2
    assert done.err.startswith("error: --concepts small cat: its answer is of several tokens")
    assert not (tmp_path / "edited").exists()
    done = command("analyze.py", *asked, "erase_zero")
    assert (done.code, done.err) == (0, "")
    edited, plain = load_encoder(tmp_path / "edited"), load_encoder("embedded")
    own = [row for row in table(study[0], "neurons") if row["concept"] == "small cat"]
    assert own
    for layer, projection in enumerate(edited.structure.projections):
        here = [int(str(row["neuron"])) for row in own if row["layer"] == layer]
        expected = plain.structure.projections[layer].weight.clone()
        expected[:, here] = 0
        assert torch.equal(projection.weight, expected)


def test_study_of_other_answers_is_another_study(study: tuple[Path, list[object]]) -> None:
    run_dir, flags = study
    with no_report():
        done = command("analyze.py", "--run_dir", run_dir, *flags)
    assert done.code == 2
    assert "model.answers ('multi' there, 'single' now)" in done.err


def test_single_is_the_default_and_lists_what_it_leaves_out(
    study: tuple[Path, list[object]], tmp_path: Path
) -> None:
    run_dir = analyze(tmp_path / "run", *study[1])
    assert {row["concept"] for row in table(run_dir, "prompts")} == {"kitten", "cat"}
    reason = "the answer is 2 tokens, not one"
    assert table(run_dir, "skipped") == [{"concept": "small cat", "prompt": None, "reason": reason}]


def test_other_kinds_of_answers_end_the_command_with_the_choices() -> None:
    done = command("analyze.py", "--model.answers", "both")
    assert done.code == 2
    assert "model.answers 'both': choose one of single, multi" in done.err
    assert "Traceback" not in done.err
