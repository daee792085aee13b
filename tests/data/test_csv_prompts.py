"""CSV and TSV files: what is read, and the one line that says what is wrong where."""

from __future__ import annotations

from pathlib import Path

import pytest

from kn_lightning.data.csv_prompts import read_csv
from kn_lightning.errors import InputError
from kn_lightning.schema import Prompt, PromptGroup

LAMB = PromptGroup("lamb", (Prompt("[MASK] is a young sheep."),))


def groups(path: Path, content: str | bytes) -> list[PromptGroup]:
    """The groups of a file with this content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_csv(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file to be written."""
    return tmp_path / "prompts.csv"


def test_each_row_is_a_prompt_with_what_is_known_of_it(path: Path) -> None:
    content = (
        "source,prompt,concept,relation,pos,negated\n"
        'own,"[MASK], a young cat.",kitten,IsA,noun,\n'
        "own,a [MASK] grows up.,kitten,,,a [MASK] does not grow up.\n"
    )
    assert groups(path, content) == [
        PromptGroup("kitten", (Prompt("[MASK], a young cat.", "IsA"),), "noun"),
        PromptGroup(
            "kitten",
            (Prompt("a [MASK] grows up."),),
            negated=(Prompt("a [MASK] does not grow up."),),
        ),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "concept,prompt\nlamb,[MASK] is a young sheep.",
        "concept,prompt\nlamb,[MASK] is a young sheep.\n",
        "\ufeffconcept,prompt\r\nlamb,[MASK] is a young sheep.\r\n",
        "Concept , PROMPT\n lamb , [MASK] is a young sheep. \n",
        'prompt,concept\n"[MASK] is a young sheep.","lamb"\n',
        "\n".join(["concept,prompt,pos,negated", "", ",,,", "lamb,[MASK] is a young sheep.", ""]),
    ],
)
def test_marks_line_ends_blank_rows_and_quotes_make_no_difference(path: Path, content: str) -> None:
    assert groups(path, content) == [LAMB]


def test_quoted_fields_may_have_separators_quotes_and_line_breaks(path: Path) -> None:
    content = 'concept,prompt\nlamb,"it says ""baa"",\nthe [MASK]"\nbad,row\n'
    path.write_text(content)
    rows = read_csv(path)
    assert next(rows).prompts == (Prompt('it says "baa",\nthe [MASK]'),)
    with pytest.raises(InputError, match=rf"^{path}, line 4: prompt 'row'"):  # lines of the file
        next(rows)


def test_tsv_is_separated_by_tabs(tmp_path: Path) -> None:
    content = "concept\tprompt\nlamb\t[MASK], a young sheep.\n"
    (group,) = groups(tmp_path / "prompts.TSV", content)
    assert group.prompts == (Prompt("[MASK], a young sheep."),)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("lamb,a young [MASK], of a sheep.", "3 fields for 2 columns; quote"),
        ("lamb", "prompt '' needs exactly one"),
        ("lamb,", "prompt '' needs exactly one"),
        (",[MASK].", "the concept is missing"),
        ("lamb,no mask.", "prompt 'no mask.' needs exactly one"),
        ("lamb,[MASK] [MASK].", "needs exactly one"),
        ('lamb,"[MASK].', "unexpected end of data"),
        ('lamb,"[MASK]"x.', "'.' expected after"),
    ],
)
def test_bad_row_is_refused_with_file_line_and_value(path: Path, row: str, what: str) -> None:
    with pytest.raises(InputError, match=rf"^{path}, line 4: .*{what}") as caught:
        groups(path, f"concept,prompt\nlamb,[MASK].\n\n{row}")
    assert "\n" not in str(caught.value)


def test_negated_prompt_needs_a_mask_too(path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: prompt 'never\.' needs exactly one"):
        groups(path, "concept,prompt,negated\nlamb,[MASK].,never.\n")


def test_parts_of_speech_are_the_reports_own(path: Path) -> None:
    header = "concept,prompt,pos\nlamb,[MASK].,"
    assert [group.pos for group in groups(path, f"{header} nns \n")] == ["noun"]
    with pytest.raises(InputError, match=rf"^{path}, line 2: 'pos' is 'proper noun'; give noun, v"):
        groups(path, f"{header}proper noun\n")


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("", "one of them concept and one prompt"),
        ("concept\tprompt", "one of them concept and one prompt"),
        ("concept,text", "'concept, text'; name one of them prompt"),
        ("prompt,prompt,concept", "name one of them prompt"),
    ],
)
def test_missing_columns_are_named(path: Path, header: str, what: str) -> None:
    with pytest.raises(InputError, match=rf"^{path}, line 1: .*{what}$"):
        groups(path, f"{header}\nlamb,[MASK].\n")


def test_files_that_cannot_be_read_are_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"data\.path {path}: No such file"):
        list(read_csv(path))
    with pytest.raises(InputError, match=rf"data\.path {tmp_path}: Is a directory"):
        list(read_csv(tmp_path))
    with pytest.raises(InputError, match=rf"{path}: not UTF-8 text"):
        groups(path, "concept,prompt\nété,[MASK].\n".encode("latin-1"))
