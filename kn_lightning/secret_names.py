"""A setting's name and value -> whether the value is nobody else's."""

from __future__ import annotations

import re
from difflib import get_close_matches

_NAMES = (
    *("key", "token", "secret", "password", "passwd", "pwd", "passphrase"),
    *("credentials", "credential", "auth", "authorization", "bearer"),
)
_ALIKE = 0.8
"""How like one of them a word of a misspelled name has to be."""
_OPEN = ("true", "false", "null", "none", "")
"""Values that are no secret, whatever they are of."""
_ORDINARY = ("key", "keys", "tokens")
"""What may name a column of the data, or tokens of an encoder."""
_SECRET_KEY = re.compile(r"(?i)(api|access|secret|private|license)[-_]?keys?")


def is_secret(name: str, value: object, misspelled: bool = False) -> bool:
    """Whether a setting of that name, such as those of loggers, holds a secret.

    Args:
        name: of the setting; of a dotted one its last part counts.
        value: that it has; no number counts as a secret below such as ``pack_tokens``.
        misspelled: whether a name counts, too, that is nearly like a key's.
    """
    last, text = name.rpartition(".")[2], str(value)
    if text.lower() in _OPEN or (last.endswith("tokens") and text.isdigit()):
        return False
    return any(_is_of_a_secret(word, misspelled) for word in _words(last))


def is_ordinary(name: str) -> bool:
    """Whether the name may be that of a column or the like, outside loggers."""
    named = {word for word in _words(name) if _is_of_a_secret(word)}
    return named <= {*_ORDINARY} and not _SECRET_KEY.search(name)


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]*[a-z]+|[A-Z]+", name)]


def _is_of_a_secret(word: str, misspelled: bool = False) -> bool:
    if misspelled and get_close_matches(word, _NAMES, n=1, cutoff=_ALIKE):
        return True
    return word.removesuffix("s").endswith(_NAMES)  # apikey, keys
