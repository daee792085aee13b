"""The testbed's world is as large, varied and consistent as its claims."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import kn_lightning
from kn_lightning.data.encoding import encode_group
from kn_lightning.data.facts import FACTS, TEMPLATES, embedded_groups, held_out_prompts
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import Prompt, PromptGroup

ASSETS = Path(kn_lightning.__file__).parent / "assets"


@pytest.fixture(scope="module")
def groups() -> list[PromptGroup]:
    """All of the testbed."""
    return embedded_groups()


@pytest.fixture(scope="module")
def embedded() -> Encoder:
    """The encoder of the package."""
    from kn_lightning import load_encoder

    return load_encoder("embedded")


def prompts_of(groups: list[PromptGroup]) -> Iterator[tuple[PromptGroup, Prompt]]:
    """Each prompt with its group."""
    return ((group, prompt) for group in groups for prompt in group.prompts)


def test_world_has_concepts_of_all_parts_of_speech(groups: list[PromptGroup]) -> None:
    assert len({group.concept for group in groups}) == len(groups) >= 240
    pos = Counter(group.pos for group in groups)
    assert pos["noun"] >= 140
    assert pos["verb"] >= 50
    assert pos["adjective"] >= 30
    assert pos["adverb"] >= 20
    assert set(pos) == {"noun", "verb", "adjective", "adverb"}


def test_nouns_stand_in_at_least_nine_relations(groups: list[PromptGroup]) -> None:
    relations = Counter(p.relation for group, p in prompts_of(groups) if group.pos == "noun")
    assert len(relations) >= 9
    assert None not in relations
    assert min(relations.values()) >= 10


def test_concepts_have_eight_prompts_in_different_words_two_of_them_held_out(
    groups: list[PromptGroup],
) -> None:
    held_out = held_out_prompts()
    for group in groups:
        texts = [prompt.text for prompt in group.prompts]
        assert len(set(texts)) == len(texts) >= 8, group.concept
        assert sum(text in held_out for text in texts) >= 2, group.concept
        # Wordings of one fact differ in more than the order of their words.
        bags = {frozenset(re.findall(r"\w+", text.lower())) for text in texts}
        assert len(bags) == len(texts), group.concept


def test_every_prompt_belongs_to_one_concept(groups: list[PromptGroup]) -> None:
    owners = defaultdict(set)
    for group, prompt in prompts_of(groups):
        owners[prompt.text.lower()].add(group.concept)
    assert [text for text, concepts in owners.items() if len(concepts) > 1] == []
    assert len(owners) == sum(len(group.prompts) for group in groups)


def test_prompts_are_sentences_with_exactly_one_mask(groups: list[PromptGroup]) -> None:
    for group, prompt in prompts_of(groups):
        assert prompt.text.count("[MASK]") == 1
        assert "[" not in prompt.text.replace("[MASK]", ""), prompt.text  # no [A], [X], [Y] is left
        assert re.fullmatch(r"\S+( \S+)*\.", prompt.text), prompt.text
        assert prompt.text[0] == "[" or prompt.text[0].isupper(), prompt.text
        words = re.findall(r"[a-z]+", prompt.text.lower().replace("[mask]", " "))
        assert group.concept not in words, prompt.text  # the answer is not given away


def test_each_fact_keeps_a_trained_wording_and_a_held_out_one() -> None:
    held_out = held_out_prompts()
    templates = json.loads(TEMPLATES.read_text(encoding="utf-8"))
    n_facts = 0
    by_concept = {group.concept: group for group in embedded_groups()}
    for line in FACTS.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for relation, cue in record["facts"].items():
            n_facts += 1
            wordings = [
                prompt.text
                for prompt in by_concept[record["concept"]].prompts
                if prompt.relation == relation
            ]
            assert len(wordings) == len(templates[record["pos"]][relation])
            for text in wordings:
                assert cue.lower() in text.lower()
            kept = [text in held_out for text in wordings]
            assert 0 < sum(kept) < len(kept), (record["concept"], relation)
    assert len(held_out) == n_facts  # one wording of each


def test_each_template_is_trained_on_somewhere_and_held_out_somewhere() -> None:
    held_out = held_out_prompts()
    templates = json.loads(TEMPLATES.read_text(encoding="utf-8"))
    by_concept = {group.concept: group for group in embedded_groups()}
    uses: dict[tuple[str, str, str], Counter[bool]] = defaultdict(Counter)
    for line in FACTS.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for relation, cue in record["facts"].items():
            for template in templates[record["pos"]][relation]:
                article = f"{record['article']} " if record["article"] else ""
                text = template.replace("[A] ", article)
                text = text.replace("[Y]", cue).replace("[X]", "[MASK]")
                (prompt,) = (
                    p
                    for p in by_concept[record["concept"]].prompts
                    if p.relation == relation and p.text.lower() == text.lower()
                )
                uses[record["pos"], relation, template][prompt.text in held_out] += 1
    for key, count in uses.items():
        assert count[False] >= count[True] > 0, key
    asked = {(p, r, t) for p, rs in templates.items() for r, ts in rs.items() for t in ts}
    assert uses.keys() == asked


def test_every_concept_is_one_token_of_the_embedded_encoder(
    groups: list[PromptGroup], embedded: Encoder
) -> None:
    for group in groups:
        encoded, skipped = encode_group(embedded, group)
        assert skipped == []
        assert encoded is not None
        (answer,) = {prompt.answers[0] for prompt in encoded.prompts}
        assert embedded.tokenizer.convert_ids_to_tokens(answer) == group.concept
        for prompt in encoded.prompts:
            assert embedded.tokenizer.unk_token_id not in prompt.input_ids


def test_assets_stay_within_ten_megabytes() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= 10 * 2**20
