"""A file of two words a line, or WordNet -> pairs of synonyms."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from kn_lightning.errors import InputError
from kn_lightning.files import check_whole

if TYPE_CHECKING:
    from nltk.corpus.reader import WordNetCorpusReader

Pair = tuple[str, str]

WORDNET = "wordnet"
"""nltk's name of the corpus."""
_POS = {"noun": "n", "verb": "v", "adjective": "a", "adverb": "r"}


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of a file in its order, each once, whichever of its words comes first.

    A line has two different words, separated by a tab or a comma; empty lines are passed over. What
    has a comma of its own is quoted as spreadsheets do.

    Raises:
        InputError: the file can't be read, has no pair, or a line is none.
    """
    check_whole("pairs", path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"pairs {path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(
            f"pairs {path}: {error.strerror or error}; give a file of two words a line"
        ) from error
    pairs: dict[Pair, Pair] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            a, b = _pair(line, f"{path}, line {number}")
            pairs.setdefault((min(a, b), max(a, b)), (a, b))
    if not pairs:
        raise InputError(f"pairs {path}: no line in it; give two words a line")
    return list(pairs.values())


def _pair(line: str, place: str) -> Pair:
    try:
        rows = csv.reader([line], delimiter="\t" if "\t" in line else ",", strict=True)
        words = [word.strip() for word in next(rows)]
    except csv.Error as error:
        raise InputError(f"{place}: {error}; quote words as spreadsheets do") from error
    if len(words) != 2 or not all(words):
        raise InputError(
            f"{place}: {line.strip()!r:.60} is not two words; separate two by a tab or a comma"
        )
    if words[0] == words[1]:
        raise InputError(f"{place}: {words[0]!r:.60} twice; give two different words")
    return words[0], words[1]


def wordnet_pairs(parts: Mapping[str, str | None], senses: int | None = None) -> list[Pair]:
    """Pairs of concepts that share a synset of WordNet, in dictionary order.

    A concept is looked up as it is spelled, not by its base form: "cars" is no synonym of "car".

    Args:
        parts: of each concept its part of speech. A noun is looked up among nouns and so on; where
            it is None or other, among all.
        senses: only the first so many of each concept, in its part of speech; WordNet has the most
            frequent first. None: all of them.

    Raises:
        InputError: nltk has no WordNet, or can't read it.
    """
    found = defaultdict(list)
    with _wordnet() as wordnet:
        for concept, part in parts.items():
            lemma = _lemma(concept)
            for pos in [_POS[part]] if part in _POS else [*_POS.values()]:
                synsets = [
                    synset
                    for synset in wordnet.synsets(lemma, pos)
                    if lemma in map(_lemma, synset.lemma_names())
                ]
                for synset in synsets[:senses]:
                    found[pos, synset.offset()].append(concept)
    return sorted(
        {
            (min(two), max(two))
            for concepts in found.values()
            for two in combinations(concepts, 2)
            if _lemma(two[0]) != _lemma(two[1])
        }
    )


def _lemma(word: str) -> str:
    return word.casefold().replace(" ", "_")


@contextmanager
def _wordnet() -> Iterator[WordNetCorpusReader]:
    from nltk.corpus import LazyCorpusLoader
    from nltk.corpus.reader import CorpusReader, WordNetCorpusReader

    # Other languages' lemmas are looked for only when they are asked for.
    others = LazyCorpusLoader("omw-2.0", CorpusReader, r".*/wn-data-.*\.tab", encoding="utf8")
    wordnet = LazyCorpusLoader(WORDNET, WordNetCorpusReader, others)
    try:
        wordnet.ensure_loaded()
    except LookupError as error:  # nltk's message is a page
        raise InputError(f"nltk has no {WORDNET}; {_REMEDY}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"nltk's {WORDNET} can't be read ({error}); {_REMEDY}") from error
    try:
        yield wordnet
    finally:
        for file in wordnet._data_file_map.values():  # nltk leaves them open
            file.close()


_REMEDY = (
    f"run `python -m nltk.downloader {WORDNET}`, set NLTK_DATA to a folder that has it, or give"
    " --pairs FILE"
)
