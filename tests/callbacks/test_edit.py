"""Every row of the edits table, recomputed one prompt at a time by a hook written here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from kn_lightning.callbacks.edit import EditCallback
from kn_lightning.core.edits import random_neurons, seeded_generator
from kn_lightning.data.unrelated import LONDON
from kn_lightning.errors import InputError
from kn_lightning.schema import Neuron

from .commands import analyze, command, table, write_jsonl
from .conftest import GROUPS, Study

ARCHITECTURES = ["bert", "modernbert"]
"""The second one's neurons are activation times gate."""

FACTORS = {"suppress": 0.0, "amplify": 2.0, "factor:0.5": 0.5, "factor:-1": -1.0}
DOSES = ("--edit.factors", "[0, 2, 0.5, -1]", "--edit.others", 3, "--edit.control_seeds", 2)
"""Flags of the main study: four factors, three other prompts, two random controls."""

Row = dict[str, Any]


class Recomputed:
    """The answer at a prompt's mask by transformers alone, with some neurons there scaled."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForMaskedLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        if self.model.config.model_type == "bert":
            self.places = [layer.output.dense for layer in self.model.bert.encoder.layer]
        else:
            self.places = [layer.mlp.Wo for layer in self.model.model.layers]

    def logits(self, text: str, neurons: list[Neuron], factor: float) -> torch.Tensor:
        """``[V]`` in float64, of a single prompt without padding."""
        ids = self.tokenizer(
            text.replace("[MASK]", self.tokenizer.mask_token), return_tensors="pt"
        ).input_ids
        position = ids[0].tolist().index(self.tokenizer.mask_token_id)
        handles = []
        for layer, place in enumerate(self.places):
            here = [index for own_layer, index in neurons if own_layer == layer]

            def scale(_: object, args: tuple[torch.Tensor], here: list[int] = here) -> Any:
                changed = args[0].clone()
                for index in here:
                    changed[0, position, index] = factor * args[0][0, position, index]
                return (changed,)

            handles.append(place.register_forward_pre_hook(scale))
        with torch.no_grad():
            logits: torch.Tensor = self.model(input_ids=ids).logits[0, position]
        for handle in handles:
            handle.remove()
        return logits.double()

    def most_active(self, texts: list[str], neurons: list[Neuron]) -> list[Neuron]:
        """As many neurons in each layer as ``neurons`` has there, by mean |w| at the masks."""
        sums: dict[int, torch.Tensor] = {}
        handles = []
        for layer, place in enumerate(self.places):

            def add(_: object, args: tuple[torch.Tensor], layer: int = layer) -> None:
                sums[layer] = sums.get(layer, torch.tensor(0.0)) + args[0][0, self.position].abs()

            handles.append(place.register_forward_pre_hook(add))
        for text in texts:
            ids = self.tokenizer(text.replace("[MASK]", self.tokenizer.mask_token)).input_ids
            self.position = ids.index(self.tokenizer.mask_token_id)
            with torch.no_grad():
                self.model(input_ids=torch.tensor([ids]))
        for handle in handles:
            handle.remove()
        sizes = Counter(layer for layer, _ in neurons)
        order = {layer: sums[layer].argsort(descending=True).tolist() for layer in sizes}
        return [Neuron(layer, i) for layer, size in sizes.items() for i in order[layer][:size]]

    def check(self, row: Row, when: str, logits: torch.Tensor, answer: str) -> None:
        """Compare a row's columns ``*_before`` or ``*_after`` with these logits."""
        token = self.tokenizer.convert_tokens_to_ids(answer)
        probability = float(logits.softmax(0)[token])
        assert row[f"probability_{when}"] == pytest.approx(probability, abs=1e-5)
        log_odds = math.log(probability) - math.log1p(-probability)
        assert row[f"log_odds_{when}"] == pytest.approx(log_odds, abs=1e-4)
        # Ranks of logits that are equal but for rounding may come in either order.
        first, last = (int((logits > logits[token] + d).sum()) + 1 for d in (1e-4, -1e-4))
        assert first <= row[f"rank_{when}"] <= max(first, last - 1)
        best = (logits > logits.max() - 1e-4).nonzero().flatten()
        words = {self.tokenizer.decode([int(index)]).strip() for index in best}
        assert row[f"argmax_{when}"] in words


def texts_of(run: Path) -> dict[object, tuple[str, str]]:
    """Text and answer of each prompt id, those of the shipped unrelated concept included."""
    texts = {f"london/{i}": (prompt.text, "london") for i, prompt in enumerate(LONDON.prompts)}
    for row in table(run, "prompts"):
        texts[str(row["prompt_id"])] = (str(row["prompt"]), str(row["concept"]))
    return dict(texts)


def refined(run: Path) -> dict[str, list[Neuron]]:
    """The knowledge neurons of each concept."""
    neurons: dict[str, list[Neuron]] = {concept: [] for concept in GROUPS}
    for row in table(run, "neurons"):
        neurons[str(row["concept"])].append(Neuron(int(row["layer"]), int(row["neuron"])))  # type: ignore[call-overload]
    return neurons


def drawn(neurons: list[Neuron], concept: str, name: str) -> list[Neuron]:
    """The neurons of a random control."""
    generator = seeded_generator(0, concept, int(name.removeprefix("random:")))
    return random_neurons(neurons, 24, generator)


def foreign_lenders() -> dict[str, str]:
    """Whose neurons each concept is measured with as ``foreign``."""
    names = list(GROUPS)
    ring = [names[i] for i in seeded_generator(0, "foreign").permutation(len(names))]
    return {ring[i]: ring[i - 1] for i in range(len(ring))}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_row_is_what_a_hand_written_hook_gives(
    study: Study, tiny_folder: Callable[[str], Path], architecture: str
) -> None:
    run = study(*DOSES, architecture=architecture)
    recomputed = Recomputed(tiny_folder(architecture))
    texts, neurons = texts_of(run), refined(run)
    rows: list[Row] = table(run, "edits")
    lenders = foreign_lenders()
    assert all(borrower != lender for borrower, lender in lenders.items())
    moved = Counter()
    for row in rows:
        text, answer = texts[row["prompt_id"]]
        own = neurons[row["concept"]]
        if row["neurons"] == "activation":
            own = recomputed.most_active(GROUPS[row["concept"]], own)
        elif row["neurons"] == "foreign":
            own = neurons[lenders[row["concept"]]]
        elif row["neurons"] != "knowledge":
            own = drawn(own, row["concept"], row["neurons"])
        assert row["n_neurons"] == len(own)
        recomputed.check(row, "before", recomputed.logits(text, [], 1.0), answer)
        recomputed.check(row, "after", recomputed.logits(text, own, FACTORS[row["edit"]]), answer)
        change = abs(row["probability_after"] - row["probability_before"])
        moved[row["prompt_kind"], row["edit"]] += change > 1e-4
    # The edits did something: equality above isn't that of nothing with nothing.
    assert all(moved[kind, edit] for kind in ("related", "unrelated", "other") for edit in FACTORS)


def test_each_concept_has_its_rows_of_all_kinds_once(study: Study) -> None:
    rows: list[Row] = table(study(*DOSES), "edits")
    london = {f"london/{i}" for i in range(len(LONDON.prompts))}
    for concept, prompts in GROUPS.items():
        own = {f"{concept}/{i}" for i in range(len(prompts))}
        for edit in FACTORS:
            found: dict[tuple[str, str], list[str]] = {}
            for row in rows:
                if (row["concept"], row["edit"]) == (concept, edit):
                    key = (row["prompt_kind"], row["neurons"])
                    found.setdefault(key, []).append(row["prompt_id"])
            assert sorted(found.pop(("related", "knowledge"))) == sorted(own)
            assert sorted(found.pop(("related", "random:0"))) == sorted(own)
            assert sorted(found.pop(("related", "random:1"))) == sorted(own)
            assert sorted(found.pop(("related", "activation"))) == sorted(own)
            assert sorted(found.pop(("related", "foreign"))) == sorted(own)
            assert sorted(found.pop(("unrelated", "knowledge"))) == sorted(london)
            others = found.pop(("other", "knowledge"))
            assert len(set(others)) == len(others) == 3
            assert not own & set(others)
            assert found == {}


def test_unrelated_concept_of_the_data_is_used_where_it_is_named(study: Study) -> None:
    bare = ("--edit.others", 0, "--edit.control_seeds", 0, "--edit.controls", "[]")
    run = study("--edit.unrelated", "paris", *bare)
    kinds: dict[tuple[str, str], set[str]] = {}
    for row in table(run, "edits"):
        key = (str(row["concept"]), str(row["prompt_kind"]))
        kinds.setdefault(key, set()).add(str(row["prompt_id"]))
        assert row["neurons"] == "knowledge"
        assert row["prompt_kind"] != "other"
    for concept in GROUPS:
        # Paris itself falls back on the first concept that shares no prompt with it.
        name = "paris" if concept != "paris" else "kitten"
        assert kinds[concept, "unrelated"] == {f"{name}/{i}" for i in range(len(GROUPS[name]))}


def test_given_unrelated_prompts_replace_those_of_the_data(study: Study) -> None:
    texts = '["[MASK] is a city.", "a farm in [MASK]."]'
    run = study("--edit.unrelated", "paris", "--edit.unrelated_prompts", texts)
    found: dict[str, set[str]] = {}
    for row in table(run, "edits"):
        if row["prompt_kind"] == "unrelated":
            found.setdefault(str(row["concept"]), set()).add(str(row["prompt_id"]))
    given = {f"paris/unrelated/{i}" for i in range(2)}
    assert found.pop("paris").isdisjoint(given)  # they aren't unrelated to paris
    assert all(ids == given for ids in found.values())
    assert len(found) == len(GROUPS) - 1


def test_unrelated_prompts_that_cannot_be_asked_are_named(
    tiny_folder: Callable[[str], Path], prompt_file: Path, tmp_path: Path
) -> None:
    done = command(
        "analyze.py", "--run_dir", tmp_path / "run", "--model.encoder", tiny_folder("bert"),
        "--data", "JsonlPrompts", "--data.path", prompt_file,
        "--edit.unrelated_prompts", ["no mask here."],
    )  # fmt: skip
    assert done.code == 2
    assert "edit.unrelated_prompts 'no mask here.'" in done.err


def test_edits_can_be_measured_on_the_first_prompts_alone(study: Study) -> None:
    for row in table(study("--edit.max_prompts", 1), "edits"):
        if row["prompt_kind"] == "related":
            assert row["prompt_id"] == f"{row['concept']}/0"


def test_negated_prompts_are_measured_with_the_knowledge_neurons(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    negated = ["[MASK] is not a cat.", "no cat was once a [MASK]."]
    lines = [{"concept": concept, "prompts": prompts} for concept, prompts in GROUPS.items()]
    lines[0]["negated"] = [*negated, "[MASK] zzqx."]
    file = write_jsonl(tmp_path / "groups.jsonl", *lines)
    source = ("--data", "JsonlPrompts", "--data.path", file)
    run = analyze(tmp_path / "run", "--model.encoder", tiny_folder("bert"), *source)
    rows: list[Row] = [row for row in table(run, "edits") if row["prompt_kind"] == "negated"]
    recomputed = Recomputed(tiny_folder("bert"))
    own = refined(run)["kitten"]
    assert own
    for row in rows:
        assert (row["concept"], row["neurons"]) == ("kitten", "knowledge")
        text = lines[0]["negated"][int(str(row["prompt_id"]).removeprefix("kitten/not/"))]
        recomputed.check(row, "before", recomputed.logits(text, [], 1.0), "kitten")
        factor = FACTORS[row["edit"]]
        recomputed.check(row, "after", recomputed.logits(text, own, factor), "kitten")
    assert len({row["prompt_id"] for row in rows}) >= 2
    # They are no prompts of the concept: neither attributed nor refined on.
    assert len(table(run, "prompts")) == sum(map(len, GROUPS.values()))


def test_random_controls_have_the_layers_of_the_neurons_and_none_of_them(study: Study) -> None:
    neurons = refined(study(*DOSES))
    differ = 0
    for concept, own in neurons.items():
        draws = [drawn(own, concept, f"random:{k}") for k in range(2)]
        for draw in draws:
            assert Counter(layer for layer, _ in draw) == Counter(layer for layer, _ in own)
            assert len(set(draw)) == len(draw)
            assert not set(draw) & set(own)
        differ += draws[0] != draws[1]
    assert sum(map(bool, neurons.values())) >= 3  # most concepts have neurons
    assert differ == sum(map(bool, neurons.values()))


def test_concept_without_neurons_has_its_rows_and_nothing_changes(study: Study) -> None:
    strict = ("--refine.threshold", 0.9, "--refine.share", 1.0)
    run = study(*strict)
    bare = {concept for concept, own in refined(run).items() if not own}
    assert bare
    rows = [row for row in table(run, "edits") if row["concept"] in bare]
    rows = [row for row in rows if row["neurons"] != "foreign"]  # those are another concept's
    assert {(row["concept"], row["prompt_kind"], row["edit"]) for row in rows} == {
        (concept, kind, edit)
        for concept in bare
        for kind in ("related", "unrelated", "other")
        for edit in ("suppress", "amplify")
    }
    for row in rows:
        assert row["n_neurons"] == 0
        for column in ("probability", "log_odds", "rank", "argmax"):
            assert row[f"{column}_after"] == row[f"{column}_before"]


def equal_but_for_rounding(one: list[Row], other: list[Row]) -> bool:
    """Whether row for row prompts and edits are the same, and probabilities to rounding."""
    names = ("concept", "prompt_id", "prompt_kind", "edit", "neurons", "n_neurons")
    if [[row[n] for n in names] for row in one] != [[row[n] for n in names] for row in other]:
        return False
    return all(
        mine[column] == pytest.approx(theirs[column], rel=1e-5, abs=1e-9)
        for mine, theirs in zip(one, other, strict=True)
        for column in ("probability_before", "probability_after")
    )


@pytest.mark.parametrize("pack_tokens", [1, 30])
def test_rows_do_not_depend_on_which_groups_share_a_pack(study: Study, pack_tokens: int) -> None:
    packed = study(*DOSES, "--data.pack_tokens", pack_tokens)
    assert equal_but_for_rounding(table(packed, "edits"), table(study(*DOSES), "edits"))


def test_rows_do_not_depend_on_which_rows_are_computed_together(study: Study) -> None:
    one_by_one = study(*DOSES, "--model.row_tokens", 1)
    assert equal_but_for_rounding(table(one_by_one, "edits"), table(study(*DOSES), "edits"))


def test_rows_of_a_concept_alone_are_those_it_has_in_company(study: Study) -> None:
    def own(run: Path) -> list[Row]:
        rows: list[Row] = table(run, "edits")
        mine = [row for row in rows if row["concept"] == "puppy"]
        return [r for r in mine if r["prompt_kind"] != "other" and r["neurons"] != "foreign"]

    alone = study(*DOSES, "--data.concepts", "[puppy]")
    assert not [row for row in table(alone, "edits") if row["prompt_kind"] == "other"]
    assert not [row for row in table(alone, "edits") if row["neurons"] == "foreign"]
    assert equal_but_for_rounding(own(alone), own(study(*DOSES)))


def test_holdout_measures_held_out_prompts_alone(study: Study) -> None:
    run = study("--edit.holdout", 0.4)
    measured: dict[str, set[str]] = {}
    for row in table(run, "edits"):
        if row["prompt_kind"] == "related":
            measured.setdefault(str(row["concept"]), set()).add(str(row["prompt_id"]))
    # 0.4 of 5, 3, 2, 2, 1 and 3 prompts, in whole ones: at least one on either side, and a single
    # prompt serves for both.
    sizes = {"kitten": 2, "puppy": 1, "paris": 1, "milk": 1, "rome": 1, "wool": 1}
    assert {concept: len(ids) for concept, ids in measured.items()} == sizes
    for concept, ids in measured.items():
        assert ids <= {f"{concept}/{i}" for i in range(len(GROUPS[concept]))}
    # Random controls are measured on the same prompts as the neurons they are compared with.
    for name in ("random:0", "random:1", "random:2"):
        rows = [row for row in table(run, "edits") if row["neurons"] == name]
        assert {row["prompt_id"] for row in rows} == set().union(*measured.values())


def test_seed_changes_draws_and_nothing_else(study: Study) -> None:
    runs = study("--edit.seed", 0), study("--edit.seed", 1)
    edits: list[list[Row]] = [table(run, "edits") for run in runs]
    assert table(runs[0], "neurons") == table(runs[1], "neurons")
    for kind, neurons, alike in [
        ("related", "knowledge", True),
        ("unrelated", "knowledge", True),
        ("other", "knowledge", False),
        ("related", "random:0", False),
        ("related", "activation", True),
        ("related", "foreign", False),
    ]:
        parts = [
            [row for row in rows if (row["prompt_kind"], row["neurons"]) == (kind, neurons)]
            for rows in edits
        ]
        # Other draws make other rows climb together.
        assert equal_but_for_rounding(*parts) is alike, (kind, neurons)


@pytest.mark.parametrize(
    "settings",
    [
        {"factors": []},
        {"factors": [0.0, 0.0]},
        {"factors": [float("nan")]},
        {"factors": [float("inf")]},
        {"others": -1},
        {"control_seeds": -1},
        {"holdout": 1.0},
        {"holdout": -0.1},
        {"controls": ["activation", "random"]},
        {"controls": ["foreign", "foreign"]},
        {"max_prompts": 0},
        {"unrelated_prompts": []},
        {"top": [0]},
        {"top": [2, 2]},
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_value(settings: dict[str, Any]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(InputError) as caught:
        EditCallback(**settings)
    assert f"edit.{name} {value}" in str(caught.value)
