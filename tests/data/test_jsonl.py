"""JSONL files: what is read, and the one line that says what is wrong where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kn_lightning.data.jsonl import read_jsonl
from kn_lightning.errors import InputError
from kn_lightning.schema import Prompt, PromptGroup

GOOD = '{"concept": "lamb", "prompts": ["[MASK] is a young sheep."]}'
LAMB = PromptGroup("lamb", (Prompt("[MASK] is a young sheep."),))


def groups(path: Path, content: str | bytes) -> list[PromptGroup]:
    """The groups of a file with this content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_jsonl(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file to be written."""
    return tmp_path / "prompts.jsonl"


def test_keys_of_a_group_are_read_and_others_left_alone(path: Path) -> None:
    record = {
        "id": 17,
        "concept": "kitten",
        "prompts": ["[MASK] will grow up to be a cat.", "a young cat is a [MASK]."],
        "relation": "IsA",
        "pos": "noun",
        "source": {"name": "own"},
    }
    (group,) = groups(path, json.dumps(record))
    assert group.concept == "kitten"
    assert group.pos == "noun"
    assert group.prompts == (
        Prompt("[MASK] will grow up to be a cat.", "IsA"),
        Prompt("a young cat is a [MASK].", "IsA"),
    )


def test_parts_of_speech_are_the_reports_own(path: Path) -> None:
    (group,) = groups(path, GOOD[:-1] + ', "pos": " NNS "}')
    assert group.pos == "noun"


@pytest.mark.parametrize("keys", ["", ', "relation": null, "pos": null'])
def test_relation_and_pos_are_optional(path: Path, keys: str) -> None:
    assert groups(path, GOOD[:-1] + keys + "}") == [LAMB]


@pytest.mark.parametrize(
    "content",
    [
        GOOD,  # no newline at the end
        GOOD + "\n",
        "\n  \n" + GOOD + "\n\t\n\n",
        b"\xef\xbb\xbf" + GOOD.encode(),  # a byte order mark
        GOOD + "\r\n",
        "\r\n" + GOOD + "\r\n\r\n",
        GOOD.replace('"lamb"', '"  lamb "'),
        GOOD.replace('"lamb"', r'"l\u0061mb"'),
    ],
)
def test_blank_lines_marks_and_line_ends_make_no_difference(
    path: Path, content: str | bytes
) -> None:
    assert groups(path, content) == [LAMB]


def test_groups_come_in_the_order_of_the_lines(path: Path) -> None:
    lines = [GOOD.replace("lamb", name) for name in ("b", "a", "c", "a")]
    assert [group.concept for group in groups(path, "\r\n".join(lines))] == ["b", "a", "c", "a"]


def test_unicode_line_separators_inside_a_prompt_cut_no_line(path: Path) -> None:
    (group,) = groups(path, '{"concept": "été", "prompts": ["[MASK]\u2028\x85 fin."]}')
    assert (group.concept, group.prompts[0].text) == ("été", "[MASK]\u2028\x85 fin.")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kitten", ["not JSON", "column 1"]),
        ('{"concept": "kitten", "prompts": ["[MASK]."]', ["not JSON"]),
        (GOOD + GOOD, ["not JSON"]),
        ("3", ["int"]),
        ('["[MASK]."]', ["list"]),
        ("null", ["NoneType"]),
        ('{"prompts": ["[MASK]."]}', ["'concept'", "None"]),
        ('{"concept": "", "prompts": ["[MASK]."]}', ["'concept'", "''"]),
        ('{"concept": " ", "prompts": ["[MASK]."]}', ["'concept'", "' '"]),
        ('{"concept": 3, "prompts": ["[MASK]."]}', ["'concept'", "3"]),
        ('{"concept": ["cat"], "prompts": ["[MASK]."]}', ["'concept'", "['cat']"]),
        ('{"concept": "cat"}', ["'prompts'", "None"]),
        ('{"concept": "cat", "prompts": []}', ["'prompts'", "[]"]),
        ('{"concept": "cat", "prompts": "[MASK]."}', ["'prompts'", "'[MASK].'"]),
        ('{"concept": "cat", "prompts": {"a": "[MASK]."}}', ["'prompts'", "{'a'"]),
        ('{"concept": "cat", "prompts": ["[MASK].", "no."]}', ["'no.'", "exactly one"]),
        ('{"concept": "cat", "prompts": ["a [MASK] [MASK]."]}', ["'a [MASK] [MASK].'"]),
        ('{"concept": "cat", "prompts": ["[mask]."]}', ["'[mask].'"]),
        ('{"concept": "cat", "prompts": [null]}', ["None", "exactly one"]),
        ('{"concept": "cat", "prompts": [["[MASK]."]]}', ["['[MASK].']"]),
        ('{"concept": "cat", "prompts": ["[MASK]."], "relation": 3}', ["'relation'", "3"]),
        ('{"concept": "cat", "prompts": ["[MASK]."], "pos": ""}', ["'pos'", "''"]),
        (GOOD[:-1] + ', "pos": "proper noun"}', ["'pos' is 'proper noun'", "give noun, verb"]),
        (GOOD[:-1] + ', "pos": "' + "x" * 500 + '"}', ["'pos'", "give noun, verb"]),
        (b'{"concept": "\xff", "prompts": ["[MASK]."]}', ["not UTF-8"]),
    ],
)
def test_bad_line_is_refused_with_file_line_and_value(
    path: Path, line: str | bytes, words: list[str]
) -> None:
    bad = line if isinstance(line, bytes) else line.encode()
    # Many lines before it: the number is the file's, blank lines counted, beyond any read buffer.
    before = [GOOD.encode(), b""] * 200
    with pytest.raises(InputError) as caught:
        groups(path, b"\n".join([*before, bad, GOOD.encode()]))
    message = str(caught.value)
    assert message.startswith(f"{path}, line 401: ")
    for word in words:
        assert word in message
    assert len(message) < len(str(path)) + 200  # a long value is cut
    assert "\n" not in message


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path .*none\.jsonl: No such file"):
        list(read_jsonl(tmp_path / "none.jsonl"))


def test_folder_instead_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path .*: Is a directory"):
        list(read_jsonl(tmp_path))


def test_long_values_are_cut_in_messages(path: Path) -> None:
    with pytest.raises(InputError) as caught:
        groups(path, json.dumps({"concept": "cat", "prompts": ["x" * 5000]}))
    assert len(str(caught.value)) < len(str(path)) + 200
