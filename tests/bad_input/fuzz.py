"""``PYTHONPATH=tests python -m bad_input.fuzz 10000``: random inputs of all readers, in process.

Each is a good file with a few bytes or values changed. It has to be read, or to be refused with
an InputError of one line; whatever else is raised is counted by the reader that raised it. The
counts go to ``fuzz.json``, which docs/bad_input.md shows (``python -m bad_input.table``).
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from unittest import mock

from encoders.tiny import tiny_model

from kn_lightning import load_encoder
from kn_lightning.cli import AnalyzeCLI
from kn_lightning.data.csv_prompts import read_csv
from kn_lightning.data.jsonl import json_objects, read_jsonl
from kn_lightning.data.lama import read_lama
from kn_lightning.data.pararel import read_pararel
from kn_lightning.errors import InputError
from kn_lightning.neuron_json import read_neurons

from .fuzz_table import RESULTS, record

_JSONL = (
    '{"concept": "kitten", "prompts": ["[MASK] is a cat.", "a [MASK]."], "relation": "IsA",'
    ' "pos": "noun", "negated": ["[MASK] is no cat."]}\n'
    '{"concept": "東京", "prompts": ["首都は[MASK]です。"]}\n'
)
_CSV = 'concept,prompt,relation,pos,negated\nkitten,"[MASK], a cat.",IsA,noun,\nété,[MASK] 🐈,,,\n'
_LAMA = (
    '{"sub": "kitten", "obj_label": "cat", "pred": "IsA", "masked_sentences": ["kitten is [MASK]"],'
    ' "negated": ["a kitten is not a [MASK]"], "judgments": [{"judgment": "yes"}]}\n'
    '{"sub_label": "a", "obj_label": "b", "evidences": [{"masked_sentence": "a [MASK]"}]}\n'
)
_FACT = '{"sub_label": "France", "obj_label": "Paris", "uuid": "1"}\n'
_PATTERN = '{"pattern": "[X] has the capital [Y].", "lemma": "x"}\n'
_NEURONS = '{"kitten": [[0, 1], [3, 511]], "lamb": []}'
_CONFIG = (
    "seed_everything: 0\nmodel:\n  rule: adaptive\n  tolerance: 0.01\ndata:\n"
    "  class_path: JsonlPrompts\n  init_args:\n    path: a.jsonl\n    max_groups: 3\n"
    "refine: {threshold: 0.2, share: 0.5, size: [2, 5]}\nedit: {factors: [0, 2], others: 8}\n"
    "trainer: {devices: 1, precision: 32-true}\nrun_dir: run\n"
)
_VALUES = [
    "null",
    "true",
    "false",
    "NaN",
    "Infinity",
    "-1",
    "0",
    "1e999",
    "[]",
    "{}",
    '""',
    "''",
    "[[]]",
    '{"a":1}',
    '"\\ud800"',
    '"[MASK]"',
    "[MASK]",
    "[MASK][MASK]",
    ".nan",
    ".inf",
    "&a",
    "*a",
    "!!python/object:os.system",
    "-",
    ":",
    ",",
    ";",
    "|",
    ">",
    '"',
    "'",
    "#",
    "%",
    "@",
    "`",
    "\t",
    "\r",
]
_BYTES = (b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xfe\xff", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\x1b")


def spoiled(good: str, draw: random.Random) -> bytes:
    """A good file with up to six changes."""
    content = bytearray(good.encode())
    for _ in range(draw.randint(0, 6)):
        place = draw.randrange(len(content) + 1)
        behind = min(len(content), place + draw.choice((0, 1, 2, 5, 30)))
        new = draw.choice(
            (
                draw.choice(_VALUES).encode(),
                draw.choice(_BYTES),
                bytes(content[place:behind]) * draw.choice((2, 3)),
                draw.randbytes(draw.randint(0, 4)),
                draw.choice((b"[", b"{", b'{"a":')) * draw.choice((1, 20, 2000)),
                draw.choice((b"9", b"a", b'"')) * draw.choice((1, 20, 6000)),
                b"",
            )
        )
        content[place:behind] = new
    return bytes(content)


def misvalued(good: str, draw: random.Random) -> bytes:
    """A good JSON file in which up to three keys have a value of another kind or size."""
    for _ in range(draw.randint(1, 3)):
        values = list(re.finditer(r'(?<=": )("[^"]*"|[\w.+-]+|\{|\[)', good))
        place = draw.choice(values)
        new = draw.choice(("null", "true", "0", "-1", "3", "0.5", '"x"', "[]", "{}", "[[1]]"))
        # Of a list or an object the first thing in it, which its end still closes.
        new = f"{place[0]}{new}, " if place[0] in "{[" else new
        good = f"{good[: place.start()]}{new}{good[place.end() :]}"
    return good.encode()


def _exhausted(entries: Iterable[object]) -> None:
    for _ in entries:
        pass


def _jsonl(path: Path) -> None:
    _exhausted(read_jsonl(path))


def _csv(path: Path) -> None:
    _exhausted(read_csv(path))


def _lama(path: Path) -> None:
    with path.open("rb") as lines:
        for mask in ("subject", "object"):
            _exhausted(read_lama(json_objects(lines, path), mask, 10, 1))
            lines.seek(0)


def _pararel(path: Path) -> None:
    """The fuzzed file holds the patterns' line and the facts', cut in two."""
    lines = path.read_bytes().split(b"\n", 1)
    folder = path.parent / "pararel"
    for name, line in zip(("pattern_data/graphs_json", "trex_lms_vocab"), lines, strict=False):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "P1.jsonl").write_bytes(line)
    for mask in ("subject", "object"):
        _exhausted(read_pararel(folder, mask, 1))


def _neurons(path: Path) -> None:
    read_neurons(path)


def _config(path: Path) -> None:
    """All of the command line but for the classes that it makes."""
    with (
        mock.patch.object(sys, "argv", ["analyze.py", "--config", str(path)]),
        mock.patch.object(AnalyzeCLI, "instantiate_classes"),
    ):
        AnalyzeCLI()


def _encoder(folder: Path, path: Path) -> None:
    """The fuzzed file is one of an encoder's."""
    place, content = folder / path.name.removeprefix("fuzzed."), path.read_bytes()
    if re.search(rb"\d{4}", content):  # the size of a model that would take all memory
        return
    good = place.read_bytes()
    place.write_bytes(content)
    try:
        load_encoder(folder)
    finally:
        place.write_bytes(good)


Reader = tuple[Callable[[Path], None], str, float]
READERS: dict[str, Reader] = {
    "jsonl": (_jsonl, _JSONL, 0.25),
    "csv": (_csv, _CSV, 0.25),
    "lama": (_lama, _LAMA, 0.15),
    "pararel": (_pararel, _PATTERN + _FACT, 0.05),
    "neurons": (_neurons, _NEURONS, 0.15),
    "config": (_config, _CONFIG, 0.05),
}
"""Each with a good file and its share of the inputs."""


def encoder_readers(folder: Path) -> dict[str, Reader]:
    """One for each text file of a good encoder, which is put there."""
    model, tokenizer = tiny_model("bert")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {
        file.name: (partial(_encoder, folder), file.read_text(encoding="utf-8"), 0.1 / 3)
        for file in sorted(folder.glob("*.json"))
    }


def fuzz(inputs: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Give each reader its share; what became of them, and what was raised that isn't for a user.

    Args:
        inputs: how many in all.
        seed: of the inputs.
        folder: for the files.
    """
    draw = random.Random(seed)
    outcomes: Counter[str] = Counter()
    broken: list[str] = []
    readers = READERS | encoder_readers(folder / "encoder")
    for name, (read, good, share) in readers.items():
        path = folder / f"fuzzed.{name}"
        for number in range(round(inputs * share)):
            spoil = draw.choice((spoiled, misvalued)) if name.endswith(".json") else spoiled
            content = spoil(good, draw)
            path.write_bytes(content)
            try:
                read(path)
                outcomes[f"{name} read"] += 1
            except InputError as error:
                if name != "config" and len(str(error).splitlines()) != 1:
                    broken.append(f"{name} {number}: not one line: {str(error)!r:.200}")
                else:
                    outcomes[f"{name} refused"] += 1
            except SystemExit as error:  # argparse's own end
                broken.append(f"{name} {number}: exit {error.code}: {content!r:.300}")
            except Exception as error:
                broken.append(f"{name} {number}: {error!r:.200}: {content!r:.300}")
    return outcomes, broken


if __name__ == "__main__":
    count, chosen = int(sys.argv[1]), int((sys.argv[2:] or ["0"])[0])
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        counts, errors = fuzz(count, chosen, Path(place))
    kinds = dict.fromkeys(line.partition(" ")[0] for line in [*counts, *errors])
    results = record(kinds, counts, errors, chosen, time.perf_counter() - start)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    lines = [f"{name}: {count}" for name, count in sorted(counts.items())]
    total = f"{sum(counts.values()) + len(errors)} inputs, {len(errors)} tracebacks"
    sys.stdout.write("\n".join([*lines, *errors[:20], total]) + "\n")
    sys.exit(bool(errors))
