"""Parts of speech: which token is asked about, which part wins, and studies without the tagger."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import nltk
import pytest
from callbacks.commands import REPOSITORY, write_jsonl

from kn_lightning.data import part_of_speech
from kn_lightning.data.modules import PromptGroups
from kn_lightning.data.part_of_speech import (
    TAGGER,
    Tagger,
    concept_part,
    fetch_tagger,
    filled_tokens,
    given_part,
    load_tagger,
    majority,
    tagged,
)
from kn_lightning.data.sources import EmbeddedPrompts, JsonlPrompts
from kn_lightning.data.study import make_study
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import EncodedGroup, EncodedPrompt, Prompt, PromptGroup


class FakeTagger:
    """Tags by place: the n-th token of a sentence gets the n-th tag; "NN" behind them."""

    def __init__(self, *tags: str) -> None:
        self.tags = tags
        self.seen: list[list[str]] = []

    def tag(self, tokens: list[str]) -> list[tuple[str, str]]:
        self.seen.append(tokens)
        tags = [*self.tags, *["NN"] * len(tokens)]
        return list(zip(tokens, tags, strict=False))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a test opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def tagger(shared: Path) -> Tagger:
    """The real one, where the machine has it beside the repository."""
    if not (shared / "nltk_data").is_dir():
        pytest.skip(f"{shared / 'nltk_data'} is not on this machine")
    paths = nltk.data.path[:]
    nltk.data.path.insert(0, str(shared / "nltk_data"))
    try:
        loaded = load_tagger()
    finally:
        nltk.data.path[:] = paths
    assert loaded is not None
    return loaded


@pytest.fixture
def no_tagger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without the tagger's data."""
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])


def group(concept: str, *texts: str, pos: str | None = None) -> EncodedGroup:
    """An encoded group of these prompts."""
    prompts = (EncodedPrompt("", concept, text, None, (1,), (0,), (0,)) for text in texts)
    return EncodedGroup(concept, pos, tuple(prompts))


@pytest.mark.parametrize(
    ("prompt", "concept", "tokens"),
    [
        ("[MASK] is a cat.", "kitten", "<kitten> is a cat ."),
        ("A cat's [MASK].", "kitten", "A cat 's <kitten> ."),
        ("[MASK]'s eyes are shut.", "kitten", "<kitten> 's eyes are shut ."),
        # Only the last full stop of a text is split off by the tokenizer itself.
        ("I saw a [MASK]. It slept.", "kitten", "I saw a <kitten> . It slept ."),
        ("A kitten is a [MASK], you know?", "kitten", "A kitten is a <kitten> , you know ?"),
        ('He said "[MASK]" (a [word]).', "cat", "He said `` <cat> '' ( a [ word ] ) ."),
        ("Two [MASK]s and a [MASKED] one.", "cat", "Two <cats> and a [ MASKED ] one ."),
        ("An un[MASK]ed non-[MASK", "load", "An <unloaded> non- [ MASK"),
        ("A non-[MASK]-like cat", "milk", "A non- <milk> -like cat"),
        ("[MASK] is sweet.", "ice cream", "ice <cream> is sweet ."),
        ("I don't [MASK]!", "cannot", "I do n't <cannot> !"),
        ("[MASK]", "don't", "<don't>"),
        ("[MASK]\ue000, \U000f0000 a [MASK].", "cat", "cat \ue000 , \U000f0000 a <cat> ."),
    ],
)
def test_the_concept_is_a_token_of_its_own_wherever_it_stands(
    prompt: str, concept: str, tokens: str
) -> None:
    found, place = filled_tokens(prompt, concept)
    found[place] = f"<{found[place]}>"
    assert " ".join(found) == tokens


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("noun", "noun Noun NN NNS nnp NNPS NOUN PROPN propn"),
        ("verb", "verb VERB VB VBD VBG VBN VBP VBZ AUX"),
        ("adjective", "adjective Adjective JJ JJR JJS ADJ adj"),
        ("adverb", "adverb RB RBR RBS ADV adv"),
        ("other", "other Other MD WRB RP IN PRP$ ADP NUM X"),
    ],
)
def test_what_the_data_call_a_concept_is_one_of_five_parts_of_speech(
    part: str, values: str
) -> None:
    assert {given_part(value, "a.csv, line 2") for value in values.split()} == {part}


@pytest.mark.parametrize("value", ["proper noun", "N", "NNX", "nouns", "名詞", ""])
def test_what_is_no_part_of_speech_is_refused_with_the_choices(value: str) -> None:
    message = (
        f"a.csv, line 2: 'pos' is {value!r}; give noun, verb, adjective, adverb, other, or a Penn "
        "Treebank or Universal tag"
    )
    with pytest.raises(InputError, match=f"^{message}$"):
        given_part(value, "a.csv, line 2")


@pytest.mark.parametrize(
    ("tag", "part"),
    [
        *((tag, "noun") for tag in ("NN", "NNS", "NNP", "NNPS")),
        *((tag, "verb") for tag in ("VB", "VBD", "VBG", "VBN", "VBP", "VBZ")),
        *((tag, "adjective") for tag in ("JJ", "JJR", "JJS")),
        *((tag, "adverb") for tag in ("RB", "RBR", "RBS")),
        *((tag, "other") for tag in ("RP", "WRB", "MD", "DT", "CD", "IN", "FW", ".", "''")),
    ],
)
def test_tags_of_the_penn_treebank_are_five_parts_of_speech(tag: str, part: str) -> None:
    # The word occurs twice, and the other one is tagged otherwise.
    fake = FakeTagger("CC", "CC", "CC", tag)
    assert concept_part("A run to [MASK].", "run", fake) == part
    assert fake.seen == [["A", "run", "to", "run", "."]]


@pytest.mark.parametrize(
    ("parts", "winner"),
    [
        ("noun", "noun"),
        ("noun noun verb", "noun"),
        ("noun noun noun verb verb adjective adjective", "verb"),
        ("noun noun noun adverb verb adjective adjective", "adjective"),
        ("other other noun", "other"),
        # Of equals the first: of classes, and inside one.
        ("noun verb", "noun"),
        ("verb noun", "verb"),
        ("other noun noun other", "other"),
        ("noun adverb verb", "adverb"),
        ("noun verb adjective adjective verb adverb", "verb"),
    ],
)
def test_a_concept_takes_the_majority_by_class_and_then_inside_it(parts: str, winner: str) -> None:
    assert majority(parts.split()) == winner


def test_a_group_is_tagged_over_its_prompts_unless_the_data_said_its_part() -> None:
    texts = ("[MASK] it.", "[MASK] on.", "A [MASK].")
    fake = FakeTagger("VBP")
    assert tagged(group("run", *texts), fake) == group("run", *texts, pos="verb")
    assert len(fake.seen) == 3
    given = group("run", *texts, pos="noun")
    assert tagged(given, fake) is given
    assert len(fake.seen) == 3


@pytest.mark.parametrize(
    ("prompt", "concept", "part"),
    [
        ("A [MASK] is a young cat.", "kitten", "noun"),
        ("The [MASK]'s eyes are shut.", "kitten", "noun"),
        ("You can [MASK] in the park every day.", "run", "verb"),
        ("He went for a run because he likes to [MASK].", "run", "verb"),
        ("They like to run, and every [MASK] was long.", "run", "noun"),
        ("The sky was very [MASK] that day.", "blue", "adjective"),
        ("She [MASK] opened the door.", "quickly", "adverb"),
        ("The cat sat [MASK] the table.", "under", "other"),
    ],
)
def test_the_real_tagger_tells_a_word_by_its_sentence(
    tagger: Tagger, prompt: str, concept: str, part: str
) -> None:
    assert concept_part(prompt, concept, tagger) == part


def test_a_study_is_the_same_study_whether_its_concepts_are_tagged_or_not(bert: Encoder) -> None:
    groups = [
        PromptGroup("kitten", (Prompt("[MASK] is small."), Prompt("[MASK]."))),
        PromptGroup("puppy", (Prompt("[MASK] is small."),), pos="noun"),
        PromptGroup("zebra", (Prompt("[MASK] is small."),)),
    ]
    fake = FakeTagger("RB")
    plain, with_pos = (make_study(bert, groups, 100, tagger=t) for t in (None, fake))
    assert plain.sha256 == with_pos.sha256
    assert [g.pos for g in plain.groups] == [None, "noun"]
    assert [g.pos for g in with_pos.groups] == ["adverb", "noun"]
    assert [g.pos for pack in with_pos.packs for g in pack.groups] == ["adverb", "noun"]
    # What the encoder can't be asked about is not worth tagging.
    assert [tokens[0] for tokens in fake.seen] == ["kitten", "kitten"]


Attached = Callable[[PromptGroups], PromptGroups]


@pytest.fixture
def attached(bert: Encoder) -> Attached:
    """A DataModule as a predicting trainer has it, prepared."""

    def attach(data: PromptGroups) -> PromptGroups:
        module = SimpleNamespace(encoder=bert, several=False)
        data.trainer = cast("Any", SimpleNamespace(lightning_module=module, predicting=True))
        data.prepare_data()
        return data

    return attach


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One concept without a part of speech, one that the tagger would give another."""
    return write_jsonl(
        tmp_path / "groups.jsonl",
        {"concept": "kitten", "prompts": ["a [MASK] is small.", "[MASK] will grow up."]},
        {"concept": "puppy", "prompts": ["a [MASK] is small."], "pos": "adverb"},
    )


def studied_pos(data: PromptGroups) -> list[str | None]:
    """Parts of speech of the study, concept by concept."""
    data.setup("predict")
    assert data.study is not None
    return [group.pos for group in data.study.groups]


def test_a_study_asks_for_the_tagger_once_and_keeps_what_the_data_say(
    file: Path, attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fake = FakeTagger("JJ", "JJ")
    monkeypatch.setattr(part_of_speech, "fetch_tagger", lambda: calls.append("fetch"))
    monkeypatch.setattr(part_of_speech, "load_tagger", lambda: calls.append("load") or fake)
    assert studied_pos(attached(JsonlPrompts(file))) == ["adjective", "adverb"]
    assert calls == ["fetch", "load"]


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda file: JsonlPrompts(file, tag_pos=False), [None, "adverb"]),
        (lambda file: JsonlPrompts(file, concepts=["puppy"]), ["adverb"]),
    ],
    ids=["told not to", "all given"],
)
def test_nothing_is_fetched_or_loaded_where_nothing_is_tagged(
    file: Path,
    attached: Attached,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], PromptGroups],
    parts: list[str | None],
) -> None:
    for name in ("fetch_tagger", "load_tagger"):
        monkeypatch.setattr(part_of_speech, name, lambda: pytest.fail("asked for the tagger"))
    assert studied_pos(attached(make(file))) == parts


def test_training_needs_no_parts_of_speech(
    file: Path, attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fetch_tagger", "load_tagger"):
        monkeypatch.setattr(part_of_speech, name, lambda: pytest.fail("asked for the tagger"))
    data = JsonlPrompts(file)
    data.trainer = attached(EmbeddedPrompts()).trainer
    cast("Any", data.trainer).predicting = False
    data.prepare_data()
    data.setup("fit")
    assert data.study is not None


@pytest.mark.usefixtures("no_tagger")
def test_without_the_tagger_a_study_goes_on_and_says_so_in_one_line(
    file: Path,
    attached: Attached,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(part_of_speech, "load_tagger", load_tagger)  # other tests have none at all
    assert studied_pos(attached(JsonlPrompts(file))) == [None, "adverb"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"nltk has no {TAGGER};" in err
    assert f"python -m nltk.downloader {TAGGER}" in err


@pytest.mark.usefixtures("no_tagger")
def test_a_damaged_tagger_is_as_good_as_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "taggers" / TAGGER
    folder.mkdir(parents=True)
    assert load_tagger() is None
    for part in ("weights", "tagdict", "classes"):
        (folder / f"{TAGGER}.{part}.json").write_text('{"cut of')
    assert load_tagger() is None
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "can't be read" in lines[1]
    assert all(TAGGER in line for line in lines)


@pytest.mark.usefixtures("no_tagger")
@pytest.mark.parametrize("end", [subprocess.TimeoutExpired("nltk", 1), OSError("no process"), None])
def test_the_tagger_is_fetched_by_nltk_itself_which_may_fail_but_not_hang(
    monkeypatch: pytest.MonkeyPatch, end: Exception | None
) -> None:
    calls: list[tuple[list[str], dict[str, Any]]] = []

    def run(command: list[str], **settings: Any) -> None:
        calls.append((command, settings))
        if end is not None:
            raise end

    monkeypatch.setattr(part_of_speech.subprocess, "run", run)
    fetch_tagger()
    ((command, settings),) = calls
    assert command == [sys.executable, "-m", "nltk.downloader", "--quiet", TAGGER]
    assert 5 <= settings["timeout"] <= 60


def test_the_tagger_is_not_fetched_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taggers" / TAGGER).mkdir(parents=True)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(part_of_speech.subprocess, "run", lambda *_, **__: pytest.fail("fetched"))
    fetch_tagger()


@pytest.mark.slow
def test_a_study_of_the_embedded_prompts_never_imports_nltk() -> None:
    code = (
        "import sys; from types import SimpleNamespace as S\n"
        "from kn_lightning import load_encoder\n"
        "from kn_lightning.data.sources import EmbeddedPrompts\n"
        "data = EmbeddedPrompts(max_groups=3)\n"
        "module = S(encoder=load_encoder('embedded'), several=False)\n"
        "data.trainer = S(lightning_module=module, predicting=True)\n"
        "data.prepare_data(); data.setup('predict')\n"
        "sys.stdout.write(str([g.pos for g in data.study.groups]) + str('nltk' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['noun', 'noun', 'noun']False"
