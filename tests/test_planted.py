"""An encoder whose knowledge neurons are known, because its weights are written by hand.

Its residual stream (64 wide) has a place for everything: ballast that keeps the norms constant, one
dimension for each cue ("the sentence says cat"), one for each answer, one that all other tokens
share. Attention of the first layer moves the cue of the sentence to all positions; feed-forward
neurons that fire on a cue write its answer's dimension. All else is distractors and noise. The real
command line has to find just those neurons.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from kn_lightning import attribute, load_encoder
from kn_lightning.core.neurons import coarse_neurons, refined_neurons

REPOSITORY = Path(__file__).parent.parent

CUES = {
    "kitten": "cat",
    "puppy": "dog",
    "lamb": "sheep",
    "calf": "cow",
    "foal": "horse",
    "cub": "bear",
}
PLANTED: dict[str, set[tuple[int, int]]] = {
    "kitten": {(1, 3), (1, 17), (2, 0), (3, 31)},
    "puppy": {(1, 4), (2, 1), (2, 30), (3, 2)},
    "lamb": {(3, 5), (3, 6), (3, 7), (3, 8)},  # all in one layer
    "calf": {(0, 9), (1, 9), (2, 9), (3, 9)},  # one in each, and the same index everywhere
    # Two that share two neurons: each fires on both cues and writes both answers.
    "foal": {(2, 20), (3, 20), (1, 21), (2, 21)},
    "cub": {(2, 20), (3, 20), (1, 22), (3, 22)},
}
SHARED = PLANTED["foal"] & PLANTED["cub"]
TEMPLATES = [
    "the [MASK] will grow up to be a {}.",
    "a young {} is a [MASK].",
    "every {} was once a small [MASK] on the farm, and then it was big.",
    "[MASK] and {}.",
    "when it is born, the {} is but a [MASK].",
]
FILLERS = (
    "the will grow up to be a young is every was once small on farm and then it big when born but"
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ","]

HIDDEN, NEURONS, LAYERS, HEADS = 64, 32, 4, 2
CONCEPTS = list(CUES)
IS_CUE = dict(zip(CONCEPTS, range(0, 6), strict=True))  # at the cue's own token
SAID = dict(zip(CONCEPTS, range(6, 12), strict=True))  # at all tokens of its sentence
ANSWER = dict(zip(CONCEPTS, range(12, 18), strict=True))
REST, TABLE = (
    18,
    19,
)  # what all other tokens of the vocabulary share; a token that no prompt asks for
UNREAD = range(20, 32)  # nothing reads these
BALLAST = range(32, 64)

FIRES, FIRE = 12.0, 6.0  # slope of a neuron on what it fires on; its activation then, nearly
STEP = 0.5  # what one planted neuron adds to its answer's dimension
GAIN = 9.0  # logit for each unit there
ATTENTION = 5.0  # to the cue, before the softmax; 0 to all other words


class Wire(NamedTuple):
    """One neuron: the cues that it fires on, and what it adds to which dimension when it does."""

    cues: list[str]
    writes: dict[int, float]


def wiring() -> dict[tuple[int, int], Wire]:
    """Planted neurons and distractors; a neuron that is not among them carries noise alone."""
    wires = {
        neuron: Wire([concept], {ANSWER[concept]: STEP})
        for concept, neurons in PLANTED.items()
        for neuron in neurons - SHARED
    }
    wires |= {n: Wire(["foal", "cub"], {ANSWER["foal"]: STEP, ANSWER["cub"]: STEP}) for n in SHARED}
    alike = {dimension: 1.0 for dimension in (*ANSWER.values(), REST, TABLE)}
    wires |= {
        # Always on: raise all tokens alike, write what nothing reads, or a token never asked for.
        (0, 0): Wire(CONCEPTS, alike),
        (3, 0): Wire(CONCEPTS, alike),
        (1, 0): Wire(CONCEPTS, {20: 2.0}),
        (3, 1): Wire(CONCEPTS, {TABLE: 0.3}),
        # On with one cue: write what nothing reads, or speak against the answer.
        (1, 25): Wire(["kitten"], {21: 1.5}),
        (2, 25): Wire(["puppy"], {22: -1.5}),
        (3, 25): Wire(["kitten"], {ANSWER["kitten"]: -0.15}),
        (3, 26): Wire(["lamb"], {ANSWER["puppy"]: 0.2}),
    }
    return wires


def planted_encoder() -> tuple[BertForMaskedLM, BertTokenizer]:
    words = [*CUES, *CUES.values(), *FILLERS.split(), "table", "chair", "river"]
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *dict.fromkeys(words)])}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=NEURONS,
        max_position_embeddings=40,
        type_vocab_size=1,
        tie_word_embeddings=False,
    )
    model = BertForMaskedLM(config).eval()
    ballast = torch.zeros(HIDDEN)
    ballast[list(BALLAST)] = torch.tensor([3.0, -3.0]).repeat(16)
    spread = ballast.std(correction=0)  # what each norm divides by, nearly; its weight undoes it
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter.fill_(spread)
        words_of = model.bert.embeddings.word_embeddings.weight
        words_of[:] = ballast
        words_of[:, list(UNREAD)] = 0.1 * torch.randn(len(vocabulary), len(UNREAD))
        for concept, cue in CUES.items():
            words_of[vocabulary[cue], IS_CUE[concept]] = 1
        _move_cues(model)
        for number, layer in enumerate(model.bert.encoder.layer):
            _plant(layer, number)
        _write_head(model, vocabulary, spread)
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=40)
    return model, tokenizer


def _move_cues(model: BertForMaskedLM) -> None:
    """The first layer's first head: every position attends to the cue, and notes which it is.

    Not to the cue alone: the more words there are, the fainter it gets, and prompts differ.
    """
    attention = model.bert.encoder.layer[0].attention
    attention.self.query.bias[0] = ATTENTION * math.sqrt(HIDDEN // HEADS)
    for head_dimension, concept in enumerate(CONCEPTS):
        attention.self.key.weight[0, IS_CUE[concept]] = 1
        attention.self.value.weight[head_dimension, IS_CUE[concept]] = 1
        attention.output.dense.weight[SAID[concept], head_dimension] = 1


def _plant(layer: torch.nn.Module, number: int) -> None:
    into, out = layer.intermediate.dense, layer.output.dense
    into.weight.normal_(0, 0.02)
    out.weight.normal_(0, 0.005)
    for (where, index), wire in wiring().items():
        if where != number:
            continue
        into.weight[index] = 0
        out.weight[:, index] = 0
        into.bias[index] = FIRE - FIRES
        for cue in wire.cues:
            into.weight[index, SAID[cue]] = FIRES
        for dimension, size in wire.writes.items():
            out.weight[dimension, index] = size / FIRE


def _write_head(model: BertForMaskedLM, vocabulary: dict[str, int], spread: torch.Tensor) -> None:
    head = model.cls.predictions
    asked = [*ANSWER.values(), REST, TABLE]
    head.transform.dense.weight[asked, asked] = 1
    head.transform.dense.bias[asked] = 4  # so that gelu is linear there
    head.transform.dense.bias[list(BALLAST)[:16]] = 8  # ballast again, for the last norm
    decoder = head.decoder.weight
    decoder[:, REST] = GAIN
    for dimension, word in [(TABLE, "table"), *((ANSWER[c], c) for c in CONCEPTS)]:
        decoder[vocabulary[word], REST] = 0
        decoder[vocabulary[word], dimension] = GAIN


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Tables of one real run of ``analyze.py`` on the planted encoder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("planted")
    model, tokenizer = planted_encoder()
    model.save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    with (folder / "groups.jsonl").open("w") as file:
        for concept, cue in CUES.items():
            prompts = [template.format(cue) for template in TEMPLATES]
            file.write(json.dumps({"concept": concept, "prompts": prompts}) + "\n")
    command = [sys.executable, "analyze.py", "--model.encoder", str(folder / "encoder")]
    command += ["--data", "JsonlPrompts", "--data.path", str(folder / "groups.jsonl")]
    command += ["--data.tag_pos", "false"]  # nothing is fetched in tests
    command += ["--refine.values", str(len(TEMPLATES)), "--edit.top", "[1,2,4]"]
    command += ["--run_dir", str(folder / "run"), "--trainer.accelerator", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-4000:]
    tables = ("prompts", "completeness", "neurons", "edits", "skipped", "values")
    return {name: pd.read_parquet(folder / "run" / f"{name}.parquet") for name in tables}


pytestmark = pytest.mark.slow


def test_the_encoder_knows_its_answers_but_is_not_saturated(run: dict[str, Any]) -> None:
    prompts = run["prompts"]
    assert len(run["skipped"]) == 0
    assert len(prompts) == len(CUES) * len(TEMPLATES)
    assert (prompts["rank"] == 1).all()
    assert (prompts["argmax"] == prompts["concept"]).all()
    assert prompts["probability"].between(0.6, 0.99).all()
    assert (prompts.groupby("concept")["probability"].nunique() == len(TEMPLATES)).all()


@pytest.fixture(scope="module")
def planted_scores() -> Callable[[str], dict[str, torch.Tensor]]:
    """``planted_scores(attribution)``: scores of each concept's prompts."""
    torch.manual_seed(0)
    encoder = load_encoder(*planted_encoder())

    def scores(attribution: str) -> dict[str, torch.Tensor]:
        found = {}
        for concept, cue in CUES.items():
            prompts = [template.format(cue) for template in TEMPLATES]
            answers = [concept] * len(prompts)
            found[concept] = attribute(encoder, prompts, answers, attribution=attribution).scores
        return found

    return scores


@pytest.mark.parametrize("attribution", ["integrated_gradients", "ablation"])
def test_exact_ablation_finds_the_planted_neurons_as_integrated_gradients_do(
    planted_scores: Callable[[str], dict[str, torch.Tensor]], attribution: str
) -> None:
    for concept, scores in planted_scores(attribution).items():
        refined = refined_neurons(scores, coarse_neurons(scores, 0.2), 0.5)
        found = zip(refined.layer.tolist(), refined.neuron.tolist(), strict=True)
        assert set(found) == PLANTED[concept], concept


def test_the_most_active_neurons_are_not_the_planted_ones(
    planted_scores: Callable[[str], dict[str, torch.Tensor]],
) -> None:
    # Some distractors are always on, and as active as those that know the answer.
    for concept, scores in planted_scores("activation").items():
        refined = refined_neurons(scores, coarse_neurons(scores, 0.2), 0.5)
        found = set(zip(refined.layer.tolist(), refined.neuron.tolist(), strict=True))
        assert found > PLANTED[concept], concept


@pytest.mark.parametrize("concept", CONCEPTS)
def test_the_planted_neurons_are_found_and_no_others(run: dict[str, Any], concept: str) -> None:
    rows = run["neurons"][run["neurons"]["concept"] == concept]
    found = list(zip(rows["layer"], rows["neuron"], strict=True))
    assert len(set(found)) == len(found)
    assert set(found) == PLANTED[concept]  # recall and precision 1
    assert (rows["share"] == 1).all()
    assert (rows["score"] > 0.01).all()


def test_scores_add_up_to_the_effect_of_their_layer(run: dict[str, Any]) -> None:
    rows = run["completeness"]
    largest = rows.assign(size=rows["total"].abs()).groupby("prompt_id")["size"].transform("max")
    assert len(rows) == len(CUES) * len(TEMPLATES) * LAYERS
    assert (rows["residual"].abs() <= 0.01 * largest + 1e-7).all()


def own(run: dict[str, Any], concept: str, **where: str) -> pd.DataFrame:
    rows = run["edits"]
    rows = rows[rows["concept"] == concept]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert len(rows)
    return rows


@pytest.mark.parametrize("concept", CONCEPTS)
def test_suppressing_a_concepts_neurons_collapses_its_own_probability(
    run: dict[str, Any], concept: str
) -> None:
    rows = own(run, concept, edit="suppress", neurons="knowledge", prompt_kind="related")
    assert len(rows) == len(TEMPLATES)
    assert (rows["n_neurons"] == len(PLANTED[concept])).all()
    # All that spoke for the answer is gone: it is one token among all that nothing speaks for.
    assert (rows["probability_after"] < 0.05).all()
    assert (rows["rank_after"] > 1).all()
    assert (rows["argmax_after"] != concept).all()


@pytest.mark.parametrize("concept", CONCEPTS)
def test_amplifying_a_concepts_neurons_raises_its_own_probability(
    run: dict[str, Any], concept: str
) -> None:
    rows = own(run, concept, edit="amplify", neurons="knowledge", prompt_kind="related")
    assert (rows["probability_after"] > rows["probability_before"]).all()
    # What the neurons give is given once more, less what the norms take back.
    assert (rows["log_odds_after"] > rows["log_odds_before"] + 3).all()


@pytest.mark.parametrize("concept", CONCEPTS)
def test_other_concepts_keep_their_probability_unless_they_share_the_neurons(
    run: dict[str, Any], concept: str
) -> None:
    rows = own(run, concept, edit="suppress", neurons="knowledge")
    rows = rows[rows["prompt_kind"] != "related"]
    owner = rows["prompt_id"].str.rpartition("/")[0]
    change = (rows["probability_after"] - rows["probability_before"]) / rows["probability_before"]
    sharing = owner.isin(["foal", "cub"]) & (concept in ("foal", "cub"))
    assert (~sharing).any()
    assert sharing.any() == (concept in ("foal", "cub"))
    assert (change[~sharing].abs() < 0.05).all()
    # Half of the other's neurons are among them: less than before, more than with none of them.
    assert (change[sharing] < -0.2).all()
    assert (rows["probability_after"][sharing] > 0.1).all()


@pytest.mark.parametrize("concept", CONCEPTS)
def test_as_many_random_neurons_of_the_same_layers_do_next_to_nothing(
    run: dict[str, Any], concept: str
) -> None:
    rows = own(run, concept, edit="suppress", prompt_kind="related")
    rows = rows[rows["neurons"].str.startswith("random")]
    assert (rows["n_neurons"] == len(PLANTED[concept])).all()
    assert rows["neurons"].nunique() == 3
    change = (rows["probability_after"] - rows["probability_before"]) / rows["probability_before"]
    assert (change.abs() < 0.2).all()


@pytest.mark.parametrize("concept", CONCEPTS)
def test_the_best_neurons_are_the_planted_ones_and_each_more_of_them_costs_more(
    run: dict[str, Any], concept: str
) -> None:
    def after(neurons: str) -> pd.Series:
        where = {"edit": "suppress", "neurons": neurons, "prompt_kind": "related"}
        rows = own(run, concept, **where).sort_values("prompt_id")
        assert len(rows) == len(TEMPLATES)
        return rows["probability_after"].reset_index(drop=True)

    assert (after("top:1") > after("top:2")).all()
    assert (after("top:2") > after("top:4")).all()
    assert after("top:4").tolist() == pytest.approx(after("knowledge").tolist(), rel=1e-4)
    before = own(run, concept, neurons="top:4")["probability_before"].mean()
    for draw in range(3):
        assert after(f"top_random:4:{draw}").mean() > 0.8 * before


@pytest.mark.parametrize("concept", CONCEPTS)
def test_the_values_of_planted_neurons_promote_their_concept_and_its_prompts_are_their_keys(
    run: dict[str, Any], concept: str
) -> None:
    rows = run["values"][run["values"]["concept"] == concept]
    knowledge = rows[rows["neurons"] == "knowledge"].to_dict("records")
    assert len(knowledge) == len(PLANTED[concept])
    for row in knowledge:
        shared = (row["layer"], row["neuron"]) in SHARED
        assert row["rank"] <= (2 if shared else 1)
        assert set(row["promoted"][: 2 if shared else 1]) == (
            {"foal", "cub"} if shared else {concept}
        )
        # Of all thirty prompts those with a cue that it fires on; all five, if it is one cue.
        owners = {prompt.rpartition("/")[0] for prompt in row["prompts"]}
        assert owners <= ({"foal", "cub"} if shared else {concept})
        assert min(row["activations"]) > FIRE / 3  # the longer the prompt, the fainter its cue
    # Neurons that are drawn write noise, or another concept.
    drawn = rows[rows["neurons"] != "knowledge"]
    assert len(drawn) == 3 * len(knowledge)
    assert (drawn["rank"] == 1).mean() < 0.5


def test_wordings_of_a_concept_have_alike_scores_and_concepts_do_not_unless_they_share_neurons(
    run: dict[str, Any],
) -> None:
    rows = run["prompts"].groupby("concept")[["similarity", "similarity_between"]].first()
    assert (rows["similarity"] > 0.9).all()
    assert (rows["similarity_between"] < 0.5).all()
