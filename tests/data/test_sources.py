"""The sources as DataModules: their flags, where their data come from, and what is recorded."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from callbacks.commands import analyze, command, table, write_jsonl

from data.conftest import Server
from kn_lightning.data.modules import PromptGroups
from kn_lightning.data.sources import CsvPrompts, JsonlPrompts, LamaPrompts, PararelPrompts
from kn_lightning.errors import InputError

VERBS = ("eats", "hunts", "wants", "likes", "sees")


def lama_lines(subject: str, count: int) -> bytes:
    """Records of one subject."""
    records = [
        {"sub": subject, "obj_label": "mice", "masked_sentences": [f"a {subject} {verb} [MASK]."]}
        for verb in VERBS[:count]
    ]
    return "".join(json.dumps(record) + "\n" for record in records).encode()


MEMBERS = {
    "data/relations.jsonl": b"{}\n",
    "data/ConceptNet/test.jsonl": lama_lines("cat", 5) + lama_lines("dog", 3),
    "data/TREx/P19.jsonl": lama_lines("wolf", 4),
    "data/TREx/P36.jsonl": lama_lines("fox", 5) + lama_lines("wolf", 5),
    "data/Google_RE/place_of_birth_test.jsonl": lama_lines("owl", 4),
    "data/Google_RE/date_of_birth_test.jsonl": lama_lines("hen", 4),
    "data/Squad/test.jsonl": lama_lines("Squad", 4),
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small archive in the layout of LAMA's."""
    path = tmp_path / "lama.zip"
    with zipfile.ZipFile(path, "w") as writer:
        for name, content in MEMBERS.items():
            writer.writestr(name, content)
    return path


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The same as a folder."""
    for name, content in MEMBERS.items():
        (tmp_path / "lama" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lama" / name).write_bytes(content)
    return tmp_path / "lama"


def concepts(data: PromptGroups) -> list[str]:
    """Those that the settings keep, in order."""
    return [group.concept for group in data.selected()[0]]


@pytest.mark.parametrize("where", ["", "data", "data/ConceptNet", "data/ConceptNet/test.jsonl"])
def test_lama_is_read_from_folders_and_from_one_file(unpacked: Path, where: str) -> None:
    data = LamaPrompts(str(unpacked / where))
    assert concepts(data) == ["cat"]
    content = MEMBERS["data/ConceptNet/test.jsonl"]
    assert data.origin() == {
        "files": ["test.jsonl"],
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def test_lama_is_read_from_its_zip(archive: Path) -> None:
    data = LamaPrompts(archive, min_prompts=3)
    assert concepts(data) == ["cat", "dog"]
    assert data.origin() == {
        "files": ["lama.zip"],
        "bytes": archive.stat().st_size,
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize("kind", ["archive", "unpacked"])
def test_parts_of_lama_are_all_their_files(kind: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    assert concepts(LamaPrompts(path, part="TREx")) == ["wolf", "fox"]
    assert concepts(LamaPrompts(path, part="Google_RE")) == ["hen", "owl"]
    assert concepts(LamaPrompts(path, part="Squad", mask="object")) == ["mice"]
    if kind == "unpacked":
        assert LamaPrompts(path, part="TREx").origin()["files"] == ["P19.jsonl", "P36.jsonl"]


def test_lama_settings_reach_the_reader(archive: Path) -> None:
    assert concepts(LamaPrompts(archive, mask="object", min_prompts=8)) == ["mice"]
    with pytest.raises(InputError, match=r"no prompt group; .*\(8 times\): more than 3 words"):
        LamaPrompts(archive, max_words=3).selected()
    assert concepts(LamaPrompts(archive, max_words=None, concepts=["cat"])) == ["cat"]
    _, _, excluded = LamaPrompts(archive).selected()
    assert {(skip.concept, skip.reason) for skip in excluded} == {("dog", "fewer than 4 prompts")}


def test_lama_is_downloaded_once_and_its_address_and_hash_are_recorded(
    archive: Path, server: Server, cache: Path
) -> None:
    server.files["/LAMA/data.zip"] = archive.read_bytes()
    url = server.url("/LAMA/data.zip")
    for _ in range(2):
        data = LamaPrompts(url=url)
        assert concepts(data) == ["cat"]
        origin = data.origin()
        assert origin == {
            "url": url,
            "files": ["data.zip"],
            "bytes": archive.stat().st_size,
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        }
    assert server.asked == [0]


def test_nothing_of_an_addresss_secrets_is_recorded(
    archive: Path, server: Server, cache: Path
) -> None:
    server.files["/data.zip?token=T"] = archive.read_bytes()
    plain = server.url("/data.zip")
    data = LamaPrompts(url=plain.replace("http://", "http://me:PW@") + "?token=T")
    assert concepts(data) == ["cat"]
    assert data.origin() == {
        "url": plain,
        "files": ["data.zip"],  # without the hash of the whole address
        "bytes": archive.stat().st_size,
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }


def test_nothing_is_downloaded_before_the_data_are_wanted_or_where_they_lie_here(
    archive: Path, server: Server, cache: Path
) -> None:
    LamaPrompts(url=server.url("/data.zip"))
    assert concepts(LamaPrompts(archive, url=server.url("/data.zip"))) == ["cat"]
    assert server.asked == []
    assert not cache.exists()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: LamaPrompts(max_words=0), r"data\.max_words 0"),
        (lambda: LamaPrompts(min_prompts=0), r"data\.min_prompts 0"),
        (lambda: LamaPrompts(part="Squad"), r"data\.mask subject.*use object"),
        (lambda: PararelPrompts(Path(), min_patterns=0), r"data\.min_patterns 0"),
        (lambda: LamaPrompts(max_groups=0), r"data\.max_groups 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    make: Callable[[], PromptGroups], what: str
) -> None:
    with pytest.raises(InputError, match=what):
        make()


def test_facts_with_the_same_answer_are_one_concept(tmp_path: Path) -> None:
    patterns = [{"pattern": text} for text in ("[X] is in [Y].", "[Y] has [X].")]
    facts = [{"sub_label": place, "obj_label": "Rome"} for place in ("Trastevere", "Esquilino")]
    for folder in ("pattern_data/graphs_json", "trex_lms_vocab"):
        (tmp_path / folder).mkdir(parents=True)
    write_jsonl(tmp_path / "pattern_data" / "graphs_json" / "P131.jsonl", *patterns)
    write_jsonl(tmp_path / "trex_lms_vocab" / "P131.jsonl", *facts)
    data = PararelPrompts(tmp_path, min_patterns=2)
    (group,) = data.selected()[0]
    assert (group.concept, len(group.prompts)) == ("Rome", 4)
    assert data.origin()["files"] == ["P131.jsonl", "P131.jsonl"]
    subjects = PararelPrompts(tmp_path, mask="subject", min_patterns=2)
    assert concepts(subjects) == ["Trastevere", "Esquilino"]


def test_csv_and_jsonl_give_the_same_groups(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "concept,prompt\ncat,a [MASK].\ndog,the [MASK].\ncat,my [MASK].\n"
    )
    lines: list[dict[str, Any]] = [
        {"concept": "cat", "prompts": ["a [MASK].", "my [MASK]."]},
        {"concept": "dog", "prompts": ["the [MASK]."]},
    ]
    rows, objects = CsvPrompts(str(tmp_path / "a.csv")), write_jsonl(tmp_path / "a.jsonl", *lines)
    assert rows.selected()[0] == JsonlPrompts(objects).selected()[0]
    assert rows.origin()["files"] == ["a.csv"]
    assert JsonlPrompts(objects).origin() == {
        "files": ["a.jsonl"],
        "bytes": objects.stat().st_size,
        "sha256": hashlib.sha256(objects.read_bytes()).hexdigest(),
    }


FLAGS = ("--edit.control_seeds", "1", "--data.tag_pos", "false")


def test_a_study_of_lama_lists_what_it_leaves_out_and_where_it_came_from(
    tmp_path: Path, server: Server, cache: Path
) -> None:
    words = [("kitten", 5), ("puppy", 2)]
    content = b"".join(lama_lines(word, count) for word, count in words)
    path = tmp_path / "lama.zip"
    with zipfile.ZipFile(path, "w") as writer:
        writer.writestr("data/ConceptNet/test.jsonl", content)
    server.files["/data.zip"] = path.read_bytes()
    url = server.url("/data.zip")
    run = analyze(tmp_path / "run", "--data", "LamaPrompts", "--data.url", url, *FLAGS)
    assert {row["concept"] for row in table(run, "prompts")} == {"kitten"}
    left_out = [(row["concept"], row["prompt"], row["reason"]) for row in table(run, "skipped")]
    reason = "fewer than 4 prompts"
    texts = [None, "a [MASK] eats mice.", "a [MASK] hunts mice."]
    assert left_out == [("puppy", text, reason) for text in texts]
    record = (run / "environment.json").read_text()
    assert str(tmp_path) not in record
    origin = json.loads(record)["data"]["origin"]
    assert origin["url"] == url
    assert origin["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("flags", [("--data.path", "{none}"), ("--data.url", "{closed}")])
def test_a_study_without_its_data_ends_in_one_line(
    tmp_path: Path, cache: Path, flags: tuple[str, str]
) -> None:
    with Server() as closed:
        url = closed.url("/data.zip")
    value = flags[1].format(none=tmp_path / "none.zip", closed=url)
    run = tmp_path / "run"
    done = command("analyze.py", "--run_dir", run, "--data", "LamaPrompts", flags[0], value, *FLAGS)
    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert value in line
    assert not run.exists()


def test_download_that_fails_before_ranks_are_set_up_is_said_in_setup_and_tried_once() -> None:
    data = LamaPrompts(url="https://host/x.zip")
    failure = InputError("data.url: refused")
    with mock.patch("kn_lightning.data.sources.fetch_zip", side_effect=failure) as fetch:
        data.prepare_data()
        with (
            mock.patch("kn_lightning.ranks._gathered", return_value=(1, ["refused", None])),
            pytest.raises(SystemExit),
        ):
            LamaPrompts(url="https://host/x.zip").setup("predict")  # of a rank that has not tried
        with pytest.raises(InputError, match=r"data\.url: refused"):
            data.setup("predict")
        fetch.assert_called_once()


def test_pipe_among_the_files_of_pararel_is_refused(tmp_path: Path) -> None:
    for folder in ("pattern_data/graphs_json", "trex_lms_vocab"):
        (tmp_path / folder).mkdir(parents=True)
    os.mkfifo(tmp_path / "pattern_data" / "graphs_json" / "P19.jsonl")
    (tmp_path / "trex_lms_vocab" / "P19.jsonl").write_text("")
    with pytest.raises(InputError, match=r"P19\.jsonl: a pipe, not a file; write it into a file"):
        PararelPrompts(tmp_path).selected()


def test_what_a_shell_puts_in_for_a_command_is_a_pipe(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", {"concept": "kitten", "prompts": ["[MASK] is young."]})
    reading, writing = os.pipe()  # as of <(cat FILE)
    try:
        os.write(writing, file.read_bytes())
        os.close(writing)
        with pytest.raises(InputError, match=rf"^data\.path /dev/fd/{reading}: a pipe, not a file"):
            JsonlPrompts(f"/dev/fd/{reading}").selected()
    finally:
        os.close(reading)
