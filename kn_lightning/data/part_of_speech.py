"""Encoded groups -> with their part of speech: the data's, else what nltk's tagger finds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Protocol

from kn_lightning.errors import InputError
from kn_lightning.schema import MASK, EncodedGroup

if TYPE_CHECKING:
    from nltk.tokenize import NLTKWordTokenizer

TAGGER = "averaged_perceptron_tagger_eng"
"""nltk's name of the tagger's data; JSON, nothing is unpickled."""
_FETCH_SECONDS = 30
"""For some 1.5 MB."""

_TAGS = {
    "noun": "NN NNS NNP NNPS NOUN PROPN",
    "verb": "VB VBD VBG VBN VBP VBZ VERB AUX",
    "adjective": "JJ JJR JJS ADJ",
    "adverb": "RB RBR RBS ADV",
    "other": "CC CD DT EX FW IN LS MD PDT POS PRP PRP$ RP SYM TO UH WDT WP WP$ WRB"
    " ADP CCONJ CONJ DET INTJ NUM PART PRON PRT PUNCT SCONJ X",
}
"""Parts of speech, and the tags that say so: Penn Treebank's, then the Universal ones."""
_PARTS = {tag: part for part, tags in _TAGS.items() for tag in (part.upper(), *tags.split())}
_CLASSES = {"verb": "modifier", "adjective": "modifier", "adverb": "modifier"}
"""The paper compares nouns with verbs, adjectives and adverbs together."""

_PLACES = range(0xF0000, 0x10FFFE)
"""Of Unicode's private use: no rule of the tokenizer knows one, and no sentence has them all."""


class Tagger(Protocol):
    """What is asked of nltk's tagger."""

    def tag(self, tokens: list[str]) -> list[tuple[str, str]]:
        """Each token of a sentence with its Penn Treebank tag."""


def given_part(value: str, place: str) -> str:
    """noun, verb, adjective, adverb or other: what the data call a concept, in any case.

    Args:
        value: one of these words, or a tag of the Penn Treebank or of the Universal set.
        place: where it stands, for the message.

    Raises:
        InputError: it is none of them.
    """
    part = _PARTS.get(value.upper())
    if part is None:
        raise InputError(
            f"{place}: 'pos' is {value!r:.60}; give {', '.join(_TAGS)}, or a Penn Treebank or "
            "Universal tag"
        )
    return part


def load_tagger() -> Tagger | None:
    """The averaged perceptron tagger of nltk for English, or None where its data can't be read.

    A study goes on without: its parts of speech stay unknown, the report leaves their figures out,
    and one line says so.
    """
    from nltk.tag.perceptron import PerceptronTagger

    try:
        tagger: Tagger = PerceptronTagger()
    except LookupError:  # nltk's message is a page
        _say(f"nltk has no {TAGGER}")
    except (OSError, ValueError) as error:
        _say(f"nltk's {TAGGER} can't be read: {error}")
    else:
        return tagger
    return None


def _say(reason: str) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    rank_zero_only(sys.stderr.write)(
        f"no parts of speech: {reason}; for their figures run"
        f" `python -m nltk.downloader {TAGGER}`, or set NLTK_DATA to a folder that has it\n"
    )


def fetch_tagger() -> None:
    """Have nltk download the tagger's data, unless they are here.

    What fails is for :func:`load_tagger` to say. It runs in a process of its own, because
    behind a firewall that answers nothing it would wait for minutes, and a process can be ended.
    """
    from nltk.data import find

    with suppress(LookupError):
        find(f"taggers/{TAGGER}/")
        return
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-m", "nltk.downloader", "--quiet", TAGGER],
            timeout=_FETCH_SECONDS,
            capture_output=True,
            check=False,
        )


def tagged(group: EncodedGroup, tagger: Tagger) -> EncodedGroup:
    """The group with the part of speech that most of its prompts give its concept.

    Where the data gave one, that stays.
    """
    if group.pos is not None:
        return group
    return replace(
        group, pos=majority([concept_part(p.text, p.concept, tagger) for p in group.prompts])
    )


def concept_part(prompt: str, concept: str, tagger: Tagger) -> str:
    """noun, verb, adjective, adverb or other: the concept in the prompt that it fills.

    The whole filled-in sentence is tagged, and the tag is taken by place: the word may occur in it
    twice. A concept of several words goes by its last.
    """
    tokens, place = filled_tokens(prompt, concept)
    _, tag = tagger.tag(tokens)[place]
    return _PARTS.get(tag, "other")


def filled_tokens(prompt: str, concept: str) -> tuple[list[str], int]:
    """Tokens of the filled-in sentence, and which is the concept, or its last word.

    Quotes, "'s", a full stop and hyphens are split from the concept, as the tagger was trained;
    letters at the mask ("[MASK]s") are one word with it.
    """
    tokens: list[str] = []
    place = -1
    mark = next(char for char in map(chr, _PLACES) if char not in prompt)
    for token in _tokenizer().tokenize(prompt.replace(MASK, mark)):
        if mark not in token:
            tokens.append(token)
            continue
        before, word, after = re.split(rf"(\w*{mark}\w*)", token)
        tokens += filter(None, (before, *word.replace(mark, concept).split()))
        place = len(tokens) - 1
        tokens += filter(None, (after,))
    return tokens, place


def majority(parts: Sequence[str]) -> str:
    """The part of speech of a concept, from those of its prompts.

    First the most frequent of the paper's three classes (noun; verb, adjective or adverb; other),
    then the most frequent part in that class: two verbs and two adjectives outvote three nouns.
    Of equals the one that comes first in the data's order wins.
    """
    classes = [_CLASSES.get(part, part) for part in parts]
    winner, _ = Counter(classes).most_common(1)[0]
    inside = [part for part, kind in zip(parts, classes, strict=True) if kind == winner]
    return Counter(inside).most_common(1)[0][0]


@cache
def _tokenizer() -> NLTKWordTokenizer:
    """Rules in the style of the Penn Treebank, which need no data."""
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()
