"""DataModules: what is kept of a source, and how it is split for training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from callbacks.commands import write_jsonl

from kn_lightning.data.facts import embedded_groups, held_out_prompts
from kn_lightning.data.sources import EmbeddedPrompts, JsonlPrompts
from kn_lightning.data.text_lines import TextLines
from kn_lightning.errors import InputError

Attach = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Five concepts with ten prompts each, all of words that the tiny BERT knows."""
    places = ["cat", "dog", "sheep", "cow", "horse", "barn", "farm", "river", "city", "bank"]
    return write_jsonl(
        tmp_path / "five.jsonl",
        *(
            {"concept": concept, "prompts": [f"the {place} was {n} [MASK]." for place in places]}
            for n, concept in zip("ainof", ["kitten", "puppy", "lamb", "calf", "foal"], strict=True)
        ),
    )


def test_max_groups_keeps_the_first_and_concepts_those_named(file: Path) -> None:
    names = ["kitten", "puppy", "lamb", "calf", "foal"]
    assert [g.concept for g in JsonlPrompts(file).selected()[0]] == names
    assert [g.concept for g in JsonlPrompts(file, max_groups=2).selected()[0]] == names[:2]
    assert [g.concept for g in JsonlPrompts(file, max_groups=99).selected()[0]] == names
    chosen = JsonlPrompts(file, concepts=["calf", "puppy"]).selected()[0]
    assert [g.concept for g in chosen] == ["puppy", "calf"]  # the data's order
    both = JsonlPrompts(file, concepts=["calf", "puppy"], max_groups=1).selected()[0]
    assert [g.concept for g in both] == ["puppy"]


def test_empty_source_and_unknown_concepts_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.concepts: ant, zebra: not among"):
        JsonlPrompts(file, concepts=["zebra", "puppy", "ant"]).selected()
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(InputError, match="no prompt group"):
        JsonlPrompts(tmp_path / "empty.jsonl").selected()


@pytest.mark.parametrize(
    "settings",
    [
        {"max_groups": 0},
        {"pack_tokens": 0},
        {"validation_share": 1.0},
        {"validation_share": -0.1},
        {"batch_size": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_value(
    file: Path, settings: dict[str, Any]
) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(InputError, match=rf"data\.{name} {value}"):
        JsonlPrompts(file, **settings)


@pytest.mark.parametrize(("ranks", "finished"), [(1, ()), (2, ()), (3, (0, 2)), (7, ()), (2, (4,))])
def test_ranks_share_the_open_packs_out_between_them(
    file: Path, attach: Attach, ranks: int, finished: tuple[int, ...]
) -> None:
    packs = []
    for rank in range(ranks):
        data = attach(JsonlPrompts(file, pack_tokens=1), rank, ranks)
        data.setup("predict")
        data.finished = frozenset(finished)
        packs.append([pack.number for pack in data.predict_dataloader()])
    together = sorted(number for mine in packs for number in mine)
    assert together == [n for n in range(5) if n not in finished]
    assert max(map(len, packs)) - min(map(len, packs)) <= 1


def test_packs_that_any_rank_may_compute_are_taken_when_their_turn_comes(
    file: Path, attach: Attach
) -> None:
    taken: list[int] = []

    def take(number: int) -> bool:
        taken.append(number)
        return taken.count(number) == 1

    loaders = []
    for rank in range(2):
        data = attach(JsonlPrompts(file, pack_tokens=1), rank, 2)
        data.setup("predict")
        data.finished, data.take = frozenset({3}), take
        loaders.append(data.predict_dataloader())
    assert [len(loader) for loader in loaders] == [4, 4]
    slow, quick = map(iter, loaders)
    first = next(slow).number
    assert taken == [first]  # and none ahead of its turn
    rest = [pack.number for pack in quick]
    assert sorted([first, *rest]) == [0, 1, 2, 4]
    assert list(slow) == []


@pytest.mark.parametrize(
    ("share", "kept"), [(0.2, [4, 9]), (0.0, []), (0.5, [1, 3, 5, 7, 9]), (0.35, [2, 5, 8])]
)
def test_validation_share_is_taken_evenly_from_each_concept(
    file: Path, attach: Attach, share: float, kept: list[int]
) -> None:
    data = attach(JsonlPrompts(file, validation_share=share, batch_size=7))
    data.setup("fit")
    everything = [prompt for group in data.study.groups for prompt in group.prompts]
    validation = [p for p in everything if int(p.prompt_id.split("/")[1]) in kept]
    assert data._validation == validation
    assert data._training == [p for p in everything if p not in validation]
    asked = sum((batch["labels"] != -100).sum() for batch in data.val_dataloader())
    assert asked == len(validation)
    sizes = [len(batch["input_ids"]) for batch in data.train_dataloader()]
    assert sum(sizes) == len(everything) - len(validation)
    assert max(sizes) <= 7


@pytest.mark.parametrize("several", [False, True])
def test_modules_answers_are_those_that_are_read(
    tmp_path: Path, attach: Attach, several: bool
) -> None:
    prompts = ["[MASK] is small.", "a [MASK]."]
    groups = [{"concept": concept, "prompts": prompts} for concept in ("kitten", "young cat")]
    file = write_jsonl(tmp_path / "two.jsonl", *groups)
    for stage in ("predict", "fit"):
        data = attach(JsonlPrompts(file, validation_share=0.5), several=several)
        data.setup(stage)
        concepts = [group.concept for group in data.study.groups]
        assert concepts == ["kitten", "young cat"][: 1 + several]
        assert data.study.several is several
    # One batch holds prompts of one mask and of two.
    (batch,) = data.val_dataloader()
    assert (batch["labels"] != -100).sum(1).tolist() == [1, 2][: 1 + several]


def test_setting_up_twice_doubles_nothing(file: Path, tmp_path: Path, attach: Attach) -> None:
    (tmp_path / "text").write_text("a cat.\na dog.\n")
    for data in (JsonlPrompts(file), TextLines(tmp_path / "text", validation_share=0.5)):
        attach(data)
        data.setup("fit")
        sizes = len(data._training), len(data._validation)
        data.setup("validate")
        assert (len(data._training), len(data._validation)) == sizes


def test_embedded_prompts_never_train_on_what_is_held_out() -> None:
    data = EmbeddedPrompts()
    held_out = held_out_prompts()
    texts = [p.text for group in embedded_groups() for p in group.prompts]
    kept = [data.is_validation(cast("Any", SimpleNamespace(text=text)), 0) for text in texts]
    assert {text for text, keep in zip(texts, kept, strict=True) if keep} == held_out
    assert 0.2 < sum(kept) / len(kept) < 0.3
