"""LAMA's records -> prompt groups, with the subject or the object of each sentence masked.

LAMA (Petroni et al. 2019) has four parts. Their records differ in where the sentence stands:

    ConceptNet  {"sub", "obj_label", "pred", "masked_sentences": [...]}
    TREx        {"sub_label", "obj_label", "predicate_id",
                 "evidences": [{"masked_sentence", "obj_surface"}]}
    Google_RE   {"sub_label", "obj_label", "pred", "masked_sentences", "judgments"}
    Squad       {"obj_label", "masked_sentences"}: no subject

and in all of them [MASK] stands for the object. The negated version (Kassner and Schütze 2020)
adds "negated" or "masked_negations", sentences that deny the fact.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from kn_lightning.data.jsonl import is_text
from kn_lightning.errors import InputError
from kn_lightning.schema import MASK, Prompt, PromptGroup, Skipped

Part = Literal["ConceptNet", "TREx", "Google_RE", "Squad"]
Masked = Literal["subject", "object"]

LAMA_URL = "https://dl.fbaipublicfiles.com/LAMA/data.zip"
FILES: dict[Part, str] = {
    "ConceptNet": "test.jsonl",
    "TREx": "P*.jsonl",
    "Google_RE": "*_test.jsonl",
    "Squad": "test.jsonl",
}
"""Names of a part's files; they lie in a folder of the part's name."""


def read_lama(
    records: Iterable[tuple[dict[str, Any], str]],
    mask: Masked,
    max_words: int | None,
    min_prompts: int,
) -> Iterator[PromptGroup | Skipped]:
    """Groups of the concepts with enough prompts, in order of appearance, and what is left out.

    Every sentence ends up in a prompt or in one row of what is left out, and a record without one
    in a row with an empty prompt; of a concept with too few prompts there is a row for each of them
    and one for the concept. Negated sentences that can't be used are left out without a row: they
    are a control, no part of what is studied.

    Args:
        records: of one part, each with its place in a file for messages.
        mask: ``subject``: the object is filled in, the subject masked, and the concept is the
            subject. ``object``: the sentence as it is, and the concept is the object.
        max_words: a prompt's words, the mask being one, are at most as many; None: any number.
        min_prompts: a concept's different prompts are at least as many.

    Raises:
        InputError: a record isn't of LAMA's form.
    """
    prompts: dict[str, dict[str, Prompt]] = defaultdict(dict)
    negated: dict[str, dict[str, Prompt]] = defaultdict(dict)
    for record, place in records:
        for statement in _statements(record, place):
            result = _prompt(statement, mask, max_words)
            if isinstance(result, Prompt):
                kept = (negated if statement.negated else prompts)[statement.concept(mask)]
                if result.text not in kept:
                    kept[result.text] = result
                    continue
                result = "a prompt that the concept has already"
            if not statement.negated:
                yield Skipped(statement.concept(mask), statement.text, result)
    for concept, texts in prompts.items():
        if len(texts) < min_prompts:
            reason = f"fewer than {min_prompts} prompts"
            yield Skipped(concept, None, reason)
            yield from (Skipped(concept, text, reason) for text in texts)
        else:
            own = tuple(negated[concept].values())
            yield PromptGroup(concept, tuple(texts.values()), negated=own)


def subject_masked(sentence: str, subject: str, filling: str) -> str | None:
    """The sentence with its mask filled in and its subject masked instead, in any case.

    The subject is a whole word or several, not a part of one, and no part of the filling; of
    several such places the first. None where there is none.
    """
    start = sentence.index(MASK)
    end = start + len(filling)
    filled = sentence.replace(MASK, filling)
    # No \b: beside the signs of a subject like "c++" there is no border between words.
    for match in re.finditer(rf"(?<!\w){re.escape(subject)}(?!\w)", filled, re.IGNORECASE):
        if match.end() <= start or end <= match.start():
            return filled[: match.start()] + MASK + filled[match.end() :]
    return None


@dataclass(frozen=True, slots=True)
class _Statement:
    """A sentence of a record; [MASK] stands for ``surface``, the object as the sentence has it."""

    text: str
    subject: str
    object: str
    surface: str
    relation: str | None
    denied: bool
    negated: bool = False

    def concept(self, mask: Masked) -> str:
        """The word that is asked for."""
        return self.subject if mask == "subject" else self.object


def _prompt(statement: _Statement, mask: Masked, max_words: int | None) -> Prompt | str:
    """The prompt that a statement makes, or why it makes none."""
    if not statement.concept(mask):
        return f"no {mask}"
    if not statement.object:
        return "no object"
    if statement.denied:
        return "most raters say that the text does not state the fact"
    if not statement.text:
        return "no sentence"
    if statement.text.count(MASK) != 1:
        return f"the sentence has not exactly one {MASK}"
    text: str | None = statement.text
    if mask == "subject":
        text = subject_masked(statement.text, statement.subject, statement.surface)
    elif statement.surface.casefold() != statement.object.casefold():
        return "the sentence has another word for the object"
    if text is None:
        return "the sentence does not contain the subject"
    if max_words is not None and len(text.split()) > max_words:
        return f"more than {max_words} words"
    return Prompt(text, statement.relation)


def _statements(record: dict[str, Any], place: str) -> Iterator[_Statement]:
    """The sentences of a record, one empty sentence where it has none; then the negated ones.

    "sub_label" and "obj_label" come first: in Google_RE "sub" and "obj" are identifiers.
    """
    label = _text(record, ("obj_label", "obj"), place)
    statement = _Statement(
        text="",
        subject=_text(record, ("sub_label", "sub"), place),
        object=label,
        surface=label,
        relation=_text(record, ("pred", "predicate_id"), place) or None,
        denied=_denied(record, place),
    )
    if "masked_sentences" in record:
        for text in _texts(record, "masked_sentences", place) or [""]:
            yield replace(statement, text=text)
    elif "evidences" not in record:
        raise InputError(
            f"{place}: neither 'masked_sentences' nor 'evidences'; give a file in LAMA's format"
        )
    else:
        for evidence in _objects(record, "evidences", place) or [{}]:
            text = _text(evidence, ("masked_sentence",), place)
            surface = _text(evidence, ("obj_surface",), place) or label
            yield replace(statement, text=text, surface=surface)
    for key in ("negated", "masked_negations"):
        for text in _texts(record, key, place):
            yield replace(statement, text=text, negated=True)


def _denied(record: dict[str, Any], place: str) -> bool:
    """Whether most raters of a Google_RE record say no; LAMA's own evaluation leaves it out too."""
    if record.get("judgments") is None:
        return False
    ratings = [rating.get("judgment") for rating in _objects(record, "judgments", place)]
    return 2 * ratings.count("yes") < len(ratings)


def _objects(record: dict[str, Any], key: str, place: str) -> list[dict[str, Any]]:
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InputError(f"{place}: {key!r} is {value!r:.60}; give a file in LAMA's format")
    return value


def _texts(record: dict[str, Any], key: str, place: str) -> list[str]:
    """The sentences below a key, where it is there."""
    value = record.get(key) or []
    sentences = [value] if isinstance(value, str) else value
    if not isinstance(sentences, list):
        raise InputError(f"{place}: {key!r} is {value!r:.60}; give a list of sentences")
    return [_text({key: sentence}, (key,), place) for sentence in sentences]


def _text(record: dict[str, Any], keys: tuple[str, ...], place: str) -> str:
    """The value of the first key that is there, else ""; any white space is one plain space.

    LAMA has no-break spaces, which not all tokenizers take for white space.
    """
    for key in keys:
        value = record.get(key)
        if isinstance(value, str) and is_text(value):
            return " ".join(value.split())
        if value is not None:
            raise InputError(f"{place}: {key!r} is {value!r:.60}; give a string")
    return ""
