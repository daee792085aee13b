"""Files of pairs, and a small WordNet in the real one's format → pairs of synonyms."""

from __future__ import annotations

from pathlib import Path

import nltk
import pytest

from kn_lightning.data.synonym_pairs import read_pairs, wordnet_pairs
from kn_lightning.errors import InputError

SYNSETS = {
    "noun": [
        ("car", "auto"),
        ("car", "carriage"),
        ("New_York", "big_apple"),
        ("auto", "carriage", "car"),
        ("cup", "cups"),
    ],
    "verb": [("call", "phone"), ("call", "cry")],
    "adj": [("big", "large")],
    "adv": [("fast", "quickly")],
}
"""By file, in the order in which each word's senses are listed."""


def write_wordnet(folder: Path) -> None:
    """``index.*`` and ``data.*`` as wndb(5WN) has them, and the other files that nltk opens."""
    folder.mkdir(parents=True)
    names = ["adj.all", "adj.pert", "adv.all", "noun.Tops"]
    lexnames = "".join(f"{i:02}\t{name}\t3\n" for i, name in enumerate(names))
    (folder / "lexnames").write_text(lexnames)
    for name in ("cntlist.rev", "index.sense", *(f"{part}.exc" for part in SYNSETS)):
        (folder / name).write_text("cars car\n" if name == "noun.exc" else "")
    for part, synsets in SYNSETS.items():
        letter = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}[part]
        data, senses = "", dict[str, list[int]]()
        for words in synsets:
            for word in words:
                senses.setdefault(word.lower(), []).append(len(data))
            lemmas = " ".join(f"{word} 0" for word in words)
            frames = " 00" if part == "verb" else ""
            data += (
                f"{len(data):08} 00 {letter} {len(words):02x} {lemmas} 000{frames} | a gloss  \n"
            )
        index = ""
        for word, places in sorted(senses.items()):
            n, offsets = len(places), " ".join(f"{place:08}" for place in places)
            index += f"{word} {letter} {n} 0 {n} 0 {offsets}  \n"
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text(index)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of nltk's data that has it."""
    folder = tmp_path_factory.mktemp("nltk_data")
    write_wordnet(folder / "corpora" / "wordnet")
    return folder


@pytest.fixture
def wordnet(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only data that nltk has."""
    monkeypatch.setattr(nltk.data, "path", [str(corpora)])


@pytest.mark.usefixtures("wordnet")
def test_words_of_a_synset_of_their_part_of_speech_are_synonyms() -> None:
    nouns = dict.fromkeys(["car", "auto", "carriage", "dog"], "noun")
    assert wordnet_pairs(nouns) == [("auto", "car"), ("auto", "carriage"), ("car", "carriage")]
    assert wordnet_pairs({"call": "verb", "cry": "verb", "phone": "noun"}) == [("call", "cry")]
    assert wordnet_pairs({"call": "noun", "cry": "noun"}) == []
    # Where the part isn't known, or is none of WordNet's, any will do.
    assert wordnet_pairs({"call": None, "cry": "other"}) == [("call", "cry")]
    others = {"big": "adjective", "large": "adjective", "fast": "adverb", "quickly": "adverb"}
    assert wordnet_pairs(others) == [("big", "large"), ("fast", "quickly")]


@pytest.mark.usefixtures("wordnet")
def test_words_are_looked_up_as_they_are_spelled() -> None:
    assert wordnet_pairs({"cars": "noun", "auto": "noun"}) == []
    assert wordnet_pairs({"new york": "noun", "Big Apple": "noun"}) == [("Big Apple", "new york")]
    assert wordnet_pairs({"Car": None, "car": None}) == []
    # nltk finds "cup" for "cups", too: in its synset it is there by itself.
    assert wordnet_pairs({"cup": "noun", "cups": "noun"}) == [("cup", "cups")]


@pytest.mark.usefixtures("wordnet")
def test_senses_count_from_the_most_frequent() -> None:
    nouns = dict.fromkeys(["car", "auto", "carriage"], "noun")
    assert wordnet_pairs(nouns, senses=1) == [("auto", "car")]
    assert len(wordnet_pairs(nouns, senses=2)) == 3


def test_missing_wordnet_is_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(InputError, match=r"no wordnet; .*nltk\.downloader wordnet`.*--pairs FILE"):
        wordnet_pairs({"car": "noun"})
    write_wordnet(tmp_path / "corpora" / "wordnet")
    (tmp_path / "corpora" / "wordnet" / "lexnames").unlink()
    with pytest.raises(InputError, match=r"can't be read \(.*lexnames.*--pairs FILE"):
        wordnet_pairs({"car": "noun"})


def test_file_has_pairs_in_its_order_each_once(tmp_path: Path) -> None:
    path = tmp_path / "pairs"
    path.write_bytes(
        b'\xef\xbb\xbfcar\tauto\r\n\r\n call , cry\nauto,car\nnew york\tbig apple\n"a,b",c\n'
    )
    found = [("car", "auto"), ("call", "cry"), ("new york", "big apple"), ("a,b", "c")]
    assert read_pairs(path) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car,auto\ncar\n", "line 2: 'car' is not two words; separate"),
        ("car,auto,cab\n", "line 1: 'car,auto,cab' is not two words"),
        ("car, \n", "line 1: 'car,' is not two words"),
        ("car,car\n", "line 1: 'car' twice; give two different"),
        ('car,"auto\n', "line 1: .*; quote words"),
        ("\n \n", "no line in it; give two words"),
        (b"caf\xe9,bar\n", "not UTF-8 text .* at byte 3.; save"),
    ],
)
def test_bad_file_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=message) as caught:
        read_pairs(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: No such file or directory; give a file"):
        read_pairs(tmp_path / "none")
