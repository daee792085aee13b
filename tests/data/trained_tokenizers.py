"""Real tokenizer files of each kind, trained here on a few sentences, without any network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizerBase

_FRAMES = [
    "{} will grow up to be a cat.",
    "the young of a cat is a {} here.",
    "a {}, they say, is small.",
    "every cow was once a {} on the farm",
]
_KNOWN = ["kitten", "puppy", "lamb", "Paris", "paris", "café", "1984", "東京", "القاهرة"]
"""Often enough to become tokens of their own."""
_RARE = [
    "kittens playing well-known songs: rock'n'roll, jazz and C++ in the 7th year, 20 % up",
    "New York and new york, São Paulo and sao paulo, Zürich, Côte d'Ivoire don't play AC/DC & AT&T",
    "日本の首都は東京です。 中国的首都是北京。 서울은 한국의 수도입니다.",
    "عاصمة مصر هي القاهرة. ירושלים היא עיר גדולה. Москва столица России.",
    "🙂 a smile 👩\u200d🚀 in space 🇫🇷 at home ❤️ (never) [ever] “said” he; i̇stanbul İstanbul ß ﬁ Œ",
    "they un-do, re:do or undo it; the cats' and the cat's a_b x+y=z 3.14 $5 €7 #1 @home / out!?",
]
CORPUS = [frame.format(word) for frame in _FRAMES for word in _KNOWN for _ in range(8)] + 3 * _RARE

_SWALLOWS = {"lstrip": True, "special": True}
KINDS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "wordpiece uncased": ("BertTokenizer", 420, {}),
    "wordpiece cased": ("BertTokenizer", 420, {"do_lower_case": False, "strip_accents": False}),
    # As the Hub's RoBERTa has it: the mask swallows the space before it.
    "byte level": ("RobertaTokenizer", 460, {"mask_token": AddedToken("<mask>", **_SWALLOWS)}),
    "byte level, space before the mask": ("DebertaTokenizer", 460, {}),
    "unigram": ("XLMRobertaTokenizer", 420, {"mask_token": AddedToken("<mask>", **_SWALLOWS)}),
    "unigram, plain mask": ("DebertaV2Tokenizer", 420, {}),
    "unigram uncased": (
        "AlbertTokenizer",
        420,
        {"mask_token": AddedToken("[MASK]", **_SWALLOWS)},
    ),
}
"""Class, size of the vocabulary and settings of each."""


def trained_tokenizer(kind: str, folder: Path) -> PreTrainedTokenizerBase:
    """A tokenizer of a kind, as it is loaded from the files that it was saved in."""
    name, size, settings = KINDS[kind]
    untrained = getattr(transformers, name)(**settings)
    trained = untrained.train_new_from_iterator(CORPUS, vocab_size=size, show_progress=False)
    trained.save_pretrained(folder)
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    assert type(loaded) is type(untrained)
    return loaded
