"""Arguments of any parser: what is wrong with them is one line with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from kn_lightning.data import sources as sources
from kn_lightning.data.modules import PromptGroups
from kn_lightning.errors import InputError, nearest
from kn_lightning.flags import flags_of, subclasses
from kn_lightning.given import Given
from kn_lightning.parsing import no_command, parsed


class Settings:
    """A section."""

    def __init__(
        self,
        factors: list[float] | None = None,
        prompts: list[str] | None = None,
        size: tuple[int, int] | None = None,
        share: float = 0.5,
    ) -> None:
        """Four flags."""


def parser() -> ArgumentParser:
    """One of each kind of flag."""
    made = ArgumentParser(prog="analyze.py some", exit_on_error=False)
    made.add_argument("run_dir")
    made.add_argument("--concepts", nargs="+", required=True)
    made.add_class_arguments(Settings, "edit")
    made.add_subclass_arguments(PromptGroups, "data")
    made.set_defaults({"data": {"class_path": "kn_lightning.data.sources.EmbeddedPrompts"}})
    return made


def said(*arguments: str) -> str:
    """The line in which the arguments are refused."""
    with pytest.raises(InputError) as refused:
        parsed(parser(), arguments, {"data": PromptGroups})
    return str(refused.value)


def test_good_arguments_are_parsed() -> None:
    given = parsed(parser(), ["run", "--concepts", "a", "b", "--edit.factors", "[0,2]"])
    assert (given.run_dir, given.concepts, given.edit.factors) == ("run", ["a", "b"], [0, 2])


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ("--edit.factors 0 2", "--edit.factors [0,2]"),
        ("--edit.factors=0", "--edit.factors [0]"),
        ("--edit.factors -1.5 2", "--edit.factors [-1.5,2]"),
        ("--edit.size (2, 5)", "--edit.size [2,5]"),
        ("--data.concepts kitten puppy", "--data.concepts [kitten,puppy]"),
    ],
)
def test_list_without_brackets_is_written_with_them(values: str, written: str) -> None:
    assert said("run", "--concepts", "a", *values.split(" ")).endswith(written)


def test_texts_of_a_list_are_quoted_for_yaml_and_the_shell() -> None:
    line = said("run", "--concepts", "a", "--edit.prompts", "[MASK] is a city.", "a [MASK]")
    assert line.endswith("""--edit.prompts '["[MASK] is a city.", "a [MASK]"]'""")
    given = parsed(
        parser(),
        ["run", "--concepts", "a", "--edit.prompts", '["[MASK] is a city.", "a [MASK]"]'],
    )
    assert given.edit.prompts == ["[MASK] is a city.", "a [MASK]"]


def test_file_is_read_by_the_class_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "pattern_data").mkdir()
    for path, kind in (("a.tsv", "Csv"), ("a.zip", "Lama"), (str(tmp_path), "Pararel")):
        line = said("run", "--concepts", "a", "--data", path)
        assert f"--data {kind}Prompts --data.path {path}" in line
    assert "--data CLASS --data.path a/b.bin" in said("run", "--concepts", "a", "--data", "a/b.bin")
    # Of a text for training no prompt group is read, so its class is not named.
    assert "--data CLASS --data.path a.txt" in said("run", "--concepts", "a", "--data", "a.txt")


def test_what_is_missing_is_shown_in_its_place() -> None:
    assert "write python analyze.py some RUN_DIR --concepts VALUE VALUE" in said()
    assert said("run") == "concepts missing: give --concepts VALUE VALUE"
    assert "RUN_DIR --concepts" in said("--concepts", "a", "run")  # which --concepts takes


def test_number_of_another_spelling_is_shown_as_it_is_written() -> None:
    for value, number in (("70%", "0.7"), ("12,5 %", "0.125"), ("0,3", "0.3"), ("half", "0.5")):
        line = said("run", "--concepts", "a", "--edit.share", value)
        assert line == f"edit.share '{value}': give a number such as {number}"


def test_flags_know_lists_words_and_classes() -> None:
    flags = flags_of(parser(), {"data": PromptGroups})
    assert flags.words == ("run_dir",)
    assert flags.several == {"concepts"}
    lists = {key for key in flags.kinds if flags.is_list(key)}
    assert lists == {"edit.factors", "edit.prompts", "edit.size", "data.concepts"}
    assert "data.path" in flags.classes["data"]["JsonlPrompts"]
    assert "data.path" not in flags.classes["data"]["EmbeddedPrompts"]


def test_classes_that_lack_a_method_are_none_that_can_be_made() -> None:
    from kn_lightning.data.modules import MaskedSentences

    assert PromptGroups not in subclasses(MaskedSentences)
    assert sources.JsonlPrompts in subclasses(MaskedSentences)


def test_nearest_flag_is_looked_for_in_its_own_section_first() -> None:
    known = ["model.nodes", "trainer.num_nodes", "edit.others", "report.language", "data.path"]
    near = {
        "model.node": "model.nodes",
        "attribution.nodes": "model.nodes",
        "edits.others": "edit.others",
        "lang": "report.language",
        "data.pth": "data.path",
    }
    for name, meant in near.items():
        assert nearest(name, known) == f" (did you mean {meant}?)"
    assert nearest("data.relation", known) == ""  # data.path begins alike, and no more


def test_first_argument_that_is_no_command(tmp_path: Path) -> None:
    assert "did you mean formation?" in str(no_command("formations"))
    assert f"--run_dir {tmp_path}" in str(no_command(str(tmp_path)))


def test_secrets_are_in_no_line_wherever_they_were_given(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    content = {"edit": {"api_ky": "PW1", "share": "http://me:PW2@h/x?PW3"}}
    flags = ["--edit.pasword=PW4", "--hf_token", "PW5", "PW55", "--edit.share", "PW4"]
    text = 'Parser key "edit": PW1 PW4 PW5 PW55 http://me:PW2@h/x?PW3 and 0.5 PW'
    given = Given(flags, {config: content})
    hidden = given.hiding({"edit.share"})
    assert hidden(text) == 'Parser key "edit": … … … … http://h/x and 0.5 PW'
    assert "PW" not in str(given.without_secrets(hidden)).replace("c.yaml", "")
    # What the flag of that name takes is shown.
    assert Given(["--data.pack_tokens", "0"], {}).hiding({"data.pack_tokens"})("0") == "0"
    # Loggers in a list of a config, settings written out behind a flag.
    config_list = {"trainer": {"logger": [{"init_args": {"passphrase": "PW6"}}]}}
    flags = ["--trainer.logger.opts", '{"Authorization": "Bearer PW7", "n": 3}']
    assert Given(flags, {config: config_list}).hiding(())("PW6 Bearer PW7 3") == "… … 3"
    long = "http://me:" + 70 * "P" + "@host"  # of which the line has less
    assert "PPP" not in said("run", "--concepts", "a", "--edit.share", long)


def test_list_of_the_wrong_kind_is_shown_in_its_own() -> None:
    for values, written in (
        ("--edit.prompts [1]", """--edit.prompts '["1"]'"""),
        ("--edit.prompts no 1.5", """--edit.prompts '["no", "1.5"]'"""),
        ("--edit.factors [a]", "--edit.factors [0,0.5]"),
        ("--edit.size [1]", "--edit.size [1,2]"),
    ):
        assert said("run", "--concepts", "a", *values.split(" ")).endswith(written)
