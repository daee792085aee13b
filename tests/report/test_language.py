"""The languages of the report: every text has its translation, and nothing else changes."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes
from matplotlib.text import Text

import kn_lightning.report
from kn_lightning.errors import InputError
from kn_lightning.report import changes, figures, fonts, language, tables, write_report

FOLDER = Path(kn_lightning.report.__file__).parent
TRANSLATIONS = language.languages()[1:]
JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
DATA = re.compile(r"concept\d+|bert-base-uncased|^r$")
"""Latin letters that stand in a Japanese report by themselves: names, and the symbol r."""

PROSE = {"title", "h1", "h2", "h3", "p", "li", "a", "summary", "strong", "figcaption"}


def arguments_of_say() -> Iterator[object]:
    """What code and templates give to ``say`` and ``plural``."""
    for path in FOLDER.glob("*.py"):
        if path.name != "language.py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    if node.func.id == "say":
                        yield node.args[0]
                    elif node.func.id == "plural":
                        yield from node.args[1:3]
    for path in FOLDER.glob("templates/*.j2"):
        tree = jinja2.Environment(autoescape=True).parse(path.read_text(encoding="utf-8"))
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "say":
                yield call.args[0]


def english_texts() -> set[str]:
    """Every text that a report can contain; none is put together where no one would find it."""
    texts = set()
    for argument in arguments_of_say():
        assert isinstance(argument, ast.Constant | nodes.Const), ast.dump(argument)  # type: ignore[arg-type]
        assert isinstance(argument.value, str)
        texts.add(argument.value)
    return texts


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def untranslated(text: str) -> bool:
    """Whether a text has Latin letters beside data, and nothing Japanese."""
    return re.search("[A-Za-z]", DATA.sub("", text)) is not None and not JAPANESE.search(text)


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_every_text_is_translated_and_no_translation_is_left_over(name: str) -> None:
    messages = language.catalogue(name)["messages"]
    assert set(messages) == english_texts()
    assert {text for text in messages if places(text) != places(messages[text])} == set()
    assert all(messages.values())


def test_japanese_is_one_of_them() -> None:
    assert "ja" in TRANSLATIONS
    with language.speaking("ja"):
        assert language.say("{n} concepts", n=3) == "3 概念"
        assert language.plural(1, "{n} concept", "{n} concepts") == "1 概念"
    assert language.plural(1, "{n} concept", "{n} concepts") == "1 concept"


def test_language_ends_with_its_block() -> None:
    with pytest.raises(RuntimeError), language.speaking("ja"):
        raise RuntimeError
    assert language.current_language() == "en"


def test_text_without_translation_is_an_error() -> None:
    with language.speaking("ja"), pytest.raises(KeyError, match="no such text"):
        language.say("no such text")


def test_unknown_language_is_refused(rich_run: Path) -> None:
    before = (rich_run / "report.html").read_bytes()
    with pytest.raises(InputError, match=r"report\.language 'fr'.* en, ja"):
        write_report(rich_run, "fr")
    assert (rich_run / "report.html").read_bytes() == before


def test_missing_font_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "cjk_font", lambda: None)
    language.check_language("en")
    with pytest.raises(InputError, match="pip install matplotlib-fontja"):
        language.check_language("ja")


def test_numbers_are_the_same_in_all_languages(rich_run: Path, rich_run_ja: Path) -> None:
    english, japanese = ((run / "summary.json").read_bytes() for run in (rich_run, rich_run_ja))
    assert english == japanese
    names = [{path.name for path in (run / "figures").iterdir()} for run in (rich_run, rich_run_ja)]
    assert names[0] == names[1]


class Words(HTMLParser):
    """The texts of headings, captions, heads of columns and paragraphs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.texts.append(values["alt"] or "")
        if tag in PROSE or (tag == "th" and values["scope"] == "col"):
            self.inside = True
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[-1] += data


def test_page_is_japanese_all_over(rich_run_ja: Path) -> None:
    html = (rich_run_ja / "report.html").read_text(encoding="utf-8")
    assert '<html lang="ja">' in html
    words = Words(html)
    assert len(words.texts) > 100
    assert [text for text in words.texts if untranslated(text)] == []


def test_markdown_is_japanese_all_over(rich_run_ja: Path) -> None:
    lines = (rich_run_ja / "report.md").read_text(encoding="utf-8").splitlines()
    prose = [line for line in lines if line and not line.startswith("|")]
    assert len(prose) > 50
    assert [line for line in prose if untranslated(line)] == []


@pytest.mark.usefixtures("rich_run_ja")  # which skips without a font
def test_figures_are_japanese_all_over(
    rich_run: Path, rich_numbers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: dict[str, list[str]] = {"en": [], "ja": []}

    def collect(figure: object) -> tuple[bytes, bytes]:
        found = figure.findobj(Text)  # type: ignore[attr-defined]
        texts[language.current_language()] += [text.get_text() for text in found]
        return b"", b""

    monkeypatch.setattr(figures, "svg_and_png", collect)
    frames = tables.run_tables(rich_run)
    measured = changes.measured_changes(frames.edits, frames.neurons)
    for name in texts:
        with language.speaking(name):
            figures.pictures(frames, measured, rich_numbers)
    assert any(untranslated(text) for text in texts["en"])
    assert len(texts["ja"]) > 100
    assert [text for text in texts["ja"] if untranslated(text)] == []
