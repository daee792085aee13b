"""What jsonargparse says of flags and configs -> one line: key, value, place and remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kn_lightning.errors import nearest
from kn_lightning.flags import Flags
from kn_lightning.given import Given, quoted
from kn_lightning.wrong_class import file_for_class, flag_of_another, no_class

_KINDS = {
    "int": "a whole number",
    "float": "a number such as 0.5",
    "bool": "true or false",
    "str": "a text",
    "NoneType": "null",
    "List": "a list",
    "list": "a list",
    "tuple": "a list",
}
_ELSEWHERE = {  # what other programs call it
    "gpus": "trainer.devices",
    "device": "trainer.accelerator",
    "lr": "model.learning_rate",
    "epochs": "trainer.max_epochs",
    "name": "model.encoder",
    "model_name_or_path": "model.encoder",
    "encoder": "encoders",
    "out": "run_dir",
    "output": "run_dir",
    "output_dir": "run_dir",
}
_KEY = re.compile(r'Parser key "([^"]+)"')
_FLAG = re.compile(r"argument (?:-\w/)?--([\w.]+): expected")
_REQUIRED = re.compile(r"the following arguments are required: ([\w., ]+?)(?= - |$)")
_UNKNOWN = re.compile(r"(?:unrecognized arguments: |accept option '|Option '|Key ')([^\s']+)")
_AMBIGUOUS = re.compile(r"ambiguous option: (\S+) could match (.+)")
_GROUP = re.compile(r"Group '([\w.]+)'")
_EXPECTED = re.compile(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[([^\]]*)\]|(List)\b)")
_VALUE = re.compile(r"(?:Got value|Given value): ?(.*?)(?= - Expected| Given value|$)")
_MADE = re.compile(r"given class_path '([\w.]+)'")
_CLASS = re.compile(
    r"(?:Unexpected import path format: |Expected a dot import path string: |Import path |"
    r"instantiatable class, but | class_path )'?([^\s':]+)"
)
_NO_TEXT = re.compile(r"(?<![\w.])[-+]?[\d.]+(?!\w)|\b(?:true|false|null|on|off|yes|no)\b", re.I)
"""What YAML reads as a number or a truth value where a text is meant."""
_EXAMPLES = {
    "data": "JsonlPrompts",
    "trainer.callbacks": "DeviceStatsMonitor",
    "trainer.logger": "WandbLogger",
}
"""Classes of the flags that take one."""
_PLAIN = re.compile(r"[\[(]?[\w.,\s+-]+[\])]?")


@dataclass(frozen=True)
class Complaint:
    """What jsonargparse says, and what it is about.

    Attributes:
        text: its own, in one line.
        given: by the user.
        flags: what the command can be given.
    """

    text: str
    given: Given
    flags: Flags

    @property
    def key(self) -> str:
        """The flag that it names, without dashes; empty where it names none."""
        return ".".join(dict.fromkeys(_KEY.findall(self.text)))

    def line(self) -> str:
        """In the words of the first kind that it is of, else in its own."""
        kinds = (
            *(self._no_utf8, self._file, self._unknown, self._ambiguous, self._missing),
            *(self._no_class, self._no_value, self._no_section, self._wrong_kind),
        )
        said = next(filter(None, (kind() for kind in kinds)), None)
        if said is not None:
            return said
        return (
            f"{self.given.place(self.key)}: {self.text:.300}" if self.key else f"{self.text:.300}"
        )

    def _no_utf8(self) -> str | None:
        if "surrogates not allowed" not in self.text:
            return None
        flag = ""
        for argument in self.given.arguments:
            name, equals, value = argument.partition("=")
            flag = name if name.startswith("--") else flag
            value = value if equals and name == flag else argument
            if not value.isprintable() and value != value.encode(errors="replace").decode():
                return f"{flag[2:]} {value!r:.60}: this name is not UTF-8; give another"
        return None

    def _file(self) -> str | None:
        return file_for_class(self.key.partition(".")[0], self.given, self.flags)

    def _unknown(self) -> str | None:
        found = _UNKNOWN.search(self.text)
        if found is None:
            return None
        word = found[1]
        if self.text.startswith("unrecognized") and not word.startswith("-"):
            return self._stray(word)
        group = _GROUP.search(self.text)
        parts = (self.key, "" if group is None else group[1], word.lstrip("-").partition("=")[0])
        name = ".".join(filter(None, parts))
        made = _MADE.search(self.text)
        said = made and flag_of_another(name, made[1].rpartition(".")[2], self.given, self.flags)
        return said or f"{self.given.place(name)}: unknown{self._nearest(name)}; --help lists all"

    def _nearest(self, name: str) -> str:
        """The flag that may have been meant, with the value that was given."""
        last = name.rpartition(".")[2]
        values = self.given.values(name)[:1]
        if "wandb" in (last, *values) and "trainer.logger" in self.flags.kinds:
            return " (did you mean --trainer.logger WandbLogger?)"
        known = _ELSEWHERE.get(last)
        close = f" (did you mean {known}?)" if known in self.flags.kinds else ""
        # The help of another section is not what was meant.
        settings = [key for key in self.flags.kinds if key.rpartition(".")[2] != "help"]
        close = close or nearest(name, settings)
        if not values:
            return close
        return re.sub(r"mean (.+)\?", lambda m: f"mean --{m[1]} {quoted(values[0])}?", close)

    def _stray(self, word: str) -> str:
        """A word that belongs to no flag; it may be one of the values of the flag before it."""
        if word[0] in "\u2013\u2014":
            return f"{word}: a long dash; write --{word[1:]}, with two hyphens"
        words = list(self.given.arguments)
        before = words[: words.index(word)] if word in words else []
        flag = next((one for one in reversed(before) if one.startswith("--")), "")
        key = flag[2:].partition("=")[0]
        if key in self.flags.classes:
            return f"{word}: --{key} takes a class alone; write --{key}.path {word}"
        if key not in self.flags.kinds:
            return (
                f"{word}: no flag takes it; write python {self.flags.usage}, and --NAME VALUE for"
                " each flag behind that"
            )
        values = " ".join(self.given.values(key))
        return f'{word}: --{key} takes one value; write --{key} "{values}" if it has spaces'

    def _ambiguous(self) -> str | None:
        found = _AMBIGUOUS.search(self.text)
        if found is None:
            return None
        names = [name for name in found[2].split(", ") if not name.endswith("+")]
        return f"{found[1].lstrip('-')}: only the beginning of a flag; write {' or '.join(names)}"

    def _missing(self) -> str | None:
        found = _REQUIRED.search(self.text)
        if found is None:
            return None
        prefix = f"{self.key}." if self.key else ""
        names = [f"{prefix}{name}" for name in found[1].split(", ")]
        what = f"{' and '.join(map(self.given.place, names))} missing"
        if set(names) & {*self.flags.words}:
            return f"{what}: write python {self.flags.usage}, and other flags behind that"
        flags = (f"--{name} {self._example(name)}" for name in names)
        return f"{what}: give {' '.join(flags)}"

    def _no_class(self) -> str | None:
        found = _CLASS.search(self.text)
        if (
            found is None
            or self.key not in self.flags.classes
            or "Parser key" in self.text[found.end() :]
        ):
            return None
        # "Import path does not correspond to …", "class_path is abstract": they don't name it.
        name = self.given.value(self.key) if found[1] in ("does", "is") else found[1]
        return no_class(self.key, name or "null", self.given, self.flags)

    def _no_value(self) -> str | None:
        found = _FLAG.search(self.text)
        if found is None:
            return None
        flag = f"--{found[1]}"
        pairs = zip(self.given.arguments, self.given.arguments[1:], strict=False)
        # argparse takes what begins with a dash and is no number for the next flag.
        values = [b for a, b in pairs if a == flag and not b.startswith("--")]
        example = f"{flag}={values[0]}" if values else f"{flag} {self._example(found[1])}"
        return f"{self.given.place(found[1])}: no value; write {example}"

    def _example(self, key: str) -> str:
        if self.flags.is_list(key):
            return "[VALUE,VALUE]"
        if key in self.flags.several:
            return "VALUE VALUE"
        return "true" if "bool" in self.flags.kinds.get(key, "") else "VALUE"

    def _no_section(self) -> str | None:
        if "Unable to load config" not in self.text:
            return None
        own = [key for key in self.flags.kinds if key.startswith(f"{self.key}.")]
        if not own:
            return None
        value = self.given.value(self.key) or "VALUE"
        meant = f"--{own[0]} {quoted(value)}"
        if value == "wandb":
            meant = "--trainer.logger WandbLogger"
        return (
            f"{self.given.place(self.key)} {value}: a section, which has flags of its own; write"
            f" such as {meant}"
        )

    def _wrong_kind(self) -> str | None:
        value = _VALUE.search(self.text)
        kinds: dict[str, None] = {}
        for name, choices, items in _EXPECTED.findall(self.text):
            if choices:
                kinds.pop(_KINDS["int"], None)  # 16, 32 and 64 of the precisions
                kinds |= dict.fromkeys(choice.strip(" '\"") for choice in choices.split(","))
            elif (name or items) in _KINDS:
                kinds[_KINDS[name or items]] = None
        if value is None or not (kinds or self.flags.is_list(self.key)):
            return None
        if self.flags.is_list(self.key):
            return self._no_list(self.given.text(self.key) or value[1])
        if example := _EXAMPLES.get(self.key):
            kinds = {f"a class such as {example}": None, **kinds}
        # The section itself may be null, which helps nobody.
        if len(kinds) > 1 and "." not in self.key:
            kinds.pop("null", None)
        if self.key in self.flags.several and value[1].startswith("["):
            items = " ".join(re.findall(r"[^][, ]+", value[1]))
            return f"{self.given.place(self.key)} {value[1]!r:.60}: write --{self.key} {items}"
        remedy = " or ".join(kinds).replace("0.5", _numeral(value[1]) or "0.5")
        return f"{self.given.place(self.key)} {value[1]!r:.60}: give {remedy}"

    def _no_list(self, text: str) -> str:
        values, kind = self.given.values(self.key), self.flags.kinds[self.key]
        items = re.findall(r"[^][(),\"' ]+", text)
        remedy = "a list, in brackets"
        texts, bracketed = "str" in kind, re.fullmatch(r"\[+[^][]*\]+", text)
        whole_list = bracketed and len(values) <= 1  # not [0, 2], which the shell has cut in two
        if texts and bracketed:
            remedy, shown = "texts, in quotes", _quoted(items)
        elif not texts and (whole_list or not all(map(_numeral, items))):
            whole = "int" in kind
            remedy, shown = ("whole numbers", "[1,2]") if whole else ("numbers", "[0,0.5]")
        elif _PLAIN.fullmatch(text) and not (texts and _NO_TEXT.search(text)):
            shown = f"[{','.join(items)}]"
        else:
            shown = _quoted(values or [text])
        if values and '"' in shown:
            shown = f"'{shown}'"  # for the shell
        flag = f"--{self.key} " if values else ""
        return f"{self.given.place(self.key)} {text!r:.60}: give {remedy}: {flag}{shown}"


def _quoted(items: Sequence[str]) -> str:
    """A list as YAML needs it for texts."""
    return json.dumps(items, ensure_ascii=False)


def _numeral(value: str) -> str:
    """The number that was meant by one with a per cent sign or a decimal comma, or nothing."""
    found = re.fullmatch(r"(-?\d+)(?:[.,](\d+))? ?(%?)", value)
    if found is None:
        return ""
    return f"{float(f'{found[1]}.{found[2] or 0}') / (100 if found[3] else 1):g}"
