"""The language that a report speaks: English texts → those of a catalogue.

English stands in the code, where it is read. Every other language is one file in ``languages/``:
for each English text its translation, with the same ``{places}``. A test holds each file complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from kn_lightning.errors import InputError

ENGLISH = "en"
_FOLDER = files("kn_lightning.report") / "languages"
_current: ContextVar[str] = ContextVar("language", default=ENGLISH)


def languages() -> tuple[str, ...]:
    """All languages that a report can speak, as codes of HTML's ``lang``."""
    names = (file.name for file in _FOLDER.iterdir())
    return ENGLISH, *sorted(name[:-5] for name in names if name.endswith(".yaml"))


def check_language(language: str) -> None:
    """See, before any work, that a report in ``language`` can be written here.

    Raises:
        InputError: There is no such language, or no font to draw it with.
    """
    if language not in languages():
        raise InputError(
            f"report.language {language!r}: choose from {', '.join(languages())}; another language "
            "is a file beside kn_lightning/report/languages/ja.yaml"
        )
    if needs_cjk_font(language):
        from kn_lightning.report.fonts import cjk_font

        if cjk_font() is None:
            raise InputError(
                f"report.language {language}: no font with Japanese characters is installed; "
                "`pip install matplotlib-fontja` brings one"
            )


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """All texts are in ``language``, inside the block only.

    Raises:
        InputError: There is no such language, or no font to draw it with.
    """
    check_language(language)
    token = _current.set(language)
    try:
        yield
    finally:
        _current.reset(token)


def current_language() -> str:
    """The code of the language spoken now."""
    return _current.get()


def say(message: str, /, **values: object) -> str:
    """``message`` in the language spoken now, with ``values`` at its ``{places}``."""
    language = current_language()
    text = message if language == ENGLISH else catalogue(language)["messages"][message]
    return str(text).format(**values)


def plural(n: int, one: str, many: str) -> str:
    """``one`` or ``many``, as the number wants it; ``{n}`` is its place."""
    return say(one if n == 1 else many, n=f"{n:,}")


def sentences(*parts: str) -> str:
    """Sentences one behind the other; empty ones are left out."""
    language = current_language()
    space = " " if language == ENGLISH else catalogue(language)["space"]
    return str(space).join(filter(None, parts))


def needs_cjk_font(language: str) -> bool:
    """Whether its texts need a font with Chinese, Japanese or Korean characters."""
    return language != ENGLISH and catalogue(language)["cjk"]


@cache
def catalogue(language: str) -> dict[str, Any]:
    """The file of a language.

    Returns:
        ``cjk``: whether it needs a font with Chinese, Japanese or Korean characters; ``space``:
        what stands between two sentences; ``messages``: for each English text its translation.
    """
    loaded: dict[str, Any] = yaml.safe_load(
        (_FOLDER / f"{language}.yaml").read_text(encoding="utf-8")
    )
    return loaded
