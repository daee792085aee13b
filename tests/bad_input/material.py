"""Files and folders that nobody should give, each with the name of what is wrong with it."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from encoders.tiny import tiny_model, wordpiece_tokenizer
from safetensors.torch import load_file, save_file

from kn_lightning.schema import SCHEMA_VERSION, SKIPPED_TABLE, TABLES

from .case import GOOD

_MASKED = '"prompts": ["[MASK] is a young cat."]'
_LINES = {  # second lines of JSONL files
    "not_json": "kitten",
    "cut": GOOD[:-9],
    "list": f"[{GOOD}]",
    "deep": "[" * 100_000,
    "digits": '{"concept": ' + "1" * 5000 + "}",
    "no_concept": "{" + _MASKED + "}",
    "blank_concept": '{"concept": " ", ' + _MASKED + "}",
    "no_prompts": '{"concept": "kitten"}',
    "empty_list": '{"concept": "kitten", "prompts": []}',
    "empty_prompt": '{"concept": "kitten", "prompts": [""]}',
    "no_mask": '{"concept": "kitten", "prompts": ["a sentence without a mask."]}',
    "two_masks": '{"concept": "kitten", "prompts": ["[MASK] and [MASK]."]}',
    "huge": json.dumps({"concept": "kitten", "prompts": ["cat " * 500_000]}),
    "surrogate": r'{"concept": "kitten", "prompts": ["[MASK] \ud83d"]}',
    "key_twice": GOOD[:-1] + ', "concept": "puppy"}',
    "latin1": '{"concept": "bébé", "prompts": ["[MASK]."]}'.encode("latin-1"),
    "zero": GOOD.replace("young", "\0"),
    "pos": GOOD[:-1] + ', "pos": "proper noun"}',
}
_TEXTS = {
    "empty.jsonl": "",
    "blank.jsonl": "\n  \n\t\n",
    "good.jsonl": GOOD,
    "utf16.jsonl": GOOD.encode("utf-16"),
    "weights.bin": bytes(range(256)),
    "unknown_answer.jsonl": '{"concept": "qwertyuiop", "prompts": ["[MASK] is a cat."]}',
    "long_concept.jsonl": json.dumps({"concept": "a" * 10**6, "prompts": ["[MASK] is young."]}),
    "long_end.jsonl": json.dumps({"concept": "kitten", "prompts": ["cat " * 200_000 + "[MASK]"]}),
    "itself.yaml": "model: &a {encoder: *a}\n",
    "itself_list.yaml": "refine: &a [*a]",
    "twice.yaml": "refine:\n  share: 0.4\nedit: {others: 2}\nrefine:\n  share: 0.5\n",
    "twice_within.yaml": "refine: {share: 0.4, threshold: 0.1, share: 0.5}\n",
    "share_twice.yaml": "share: 0.4\nshare: 0.5\n",
    "names_pipe.yaml": "refine: pipe\n",
    "half_emoji.yaml": 'run_dir: "\\ud83d"\n',
    "anchors.yaml": "a0: &a0 {x: 1}\n"
    + "".join(
        f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(8))}}}\n" for i in range(1, 8)
    ),
    "endless.yaml": f"refine: {{share: {'9' * 400}}}",
    "on.yaml": "refine: {on: 2}",
    "long.jsonl": json.dumps({"concept": "kitten", "prompts": ["[MASK]" + " cat" * 600]}),
    "good.csv": "concept,prompt\nkitten,[MASK] is a young cat.\n",
    "empty.csv": "",
    "header.csv": "concept,prompt\n",
    "no_column.csv": "concept,sentence\nkitten,[MASK] is a young cat.\n",
    "fields.csv": "concept,prompt\nkitten,[MASK], a young cat.\n",
    "no_mask.csv": "concept,prompt\nkitten,a young cat.\n",
    "two_masks.csv": "concept,prompt\nkitten,[MASK] and [MASK].\n",
    "quote.csv": 'concept,prompt\nkitten,"[MASK] is a young cat.\n',
    "pos_twice.csv": "concept,prompt,pos,pos\nkitten,[MASK] is a young cat.,noun,verb\n",
    "huge.csv": "concept,prompt\nkitten,[MASK]" + " cat" * 100_000,
    "latin1.csv": "concept,prompt\nbébé,[MASK].\n".encode("latin-1"),
    "zero.csv": "concept,prompt\nkitten,[MASK] \0.\n",
    "not.zip": "no archive",
    "neurons.json": '{"kitten": [[99, 1]]}',
    "neurons_twice.json": '{"kitten": [[1, 5]], "kitten": [[2, 7]]}',
    "broken.yaml": "refine: {share: 0.5\nedit: [",
    "list.yaml": "- refine\n- edit\n",
    "key.yaml": "refine: {threshhold: 0.3}\n",
    "section.yaml": "refin: {threshold: 0.3}\n",
    "text.yaml": "refine: {share: half}\n",
    "tab.yaml": "refine:\n\tshare: 0.5\n",
    "no_list.yaml": "edit: {factors: 0}\n",
    "data_file.yaml": "data: good.jsonl\n",
    "data_path.yaml": "data: {path: good.jsonl}\n",
    "zero.yaml": 'data: {class_path: JsonlPrompts, init_args: {path: "a\\0b"}}',
    "zero_text.yaml": 'data: {class_path: TextLines, init_args: {path: "a\\0b"}}',
    "texts/notes.txt": "nothing of interest",
    "other_run/environment.json": '{"schema_version": 1, "identity": {}}',
    "other_formation/formation.json": '{"schema_version": 1, "identity": {}}',
    "other_run/config.yaml": "model: {encoder: embedded}\n",
}

_CONFIGS = {  # of models
    "no_heads": {"num_attention_heads": 0},
    "activation": {"hidden_act": "foo"},
    "text_size": {"hidden_size": "x"},
    "no_vocabulary": {"vocab_size": 0},
    "padding": {"pad_token_id": 99999},
    "types": {"model_type": ["bert"]},
    "dtype": {"dtype": "foo"},
}
_FILES = {  # of models, in place of the good one
    "tokenizer_object": ("tokenizer.json", "{}"),
    "tokenizer_list": ("tokenizer.json", "[]"),
    "tokenizer_settings": ("tokenizer_config.json", "[]"),
    "tokenizer_length": ("tokenizer_config.json", '{"model_max_length": "x"}'),
    "shards": ("model.safetensors.index.json", "{}"),
}

_RECORD = {
    "schema_version": SCHEMA_VERSION,
    "versions": {"kn_lightning": "0.1.0"},
    "platform": "Linux",
    "device": "cpu",
    "devices": 1,
    "precision": "32-true",
    "encoder": {
        **{"id": "embedded", "revision": None, "model_type": "bert", "vocabulary": 60},
        **{"n_layers": 3, "n_neurons": 24, "hidden_size": 16},
    },
    "data": {"class": "JsonlPrompts", "sha256": "0", "groups": 1, "prompts": 1},
    "study": {
        **{"rule": "adaptive", "nodes": None, "tolerance": 0.01, "path": "layer"},
        **{"threshold": 0.2, "share": 0.5, "inclusive": True, "factors": [0.0], "unrelated": "a"},
    },
}
_ROW = {"concept": "kitten", "prompt_id": "1", "layer": 0, "neuron": 0}
_DEEP = "[" * 100_000
_RUNS: dict[str, dict[str, str]] = {  # a run's files that are not what it wrote
    "cut": {"neurons.parquet": "PAR1 and no end"},
    "versions": {"environment.json": json.dumps(_RECORD | {"versions": 5})},
    "no_encoder": {"environment.json": json.dumps(_RECORD | {"encoder": None})},
    "layers": {
        "environment.json": json.dumps(
            _RECORD | {"encoder": _RECORD["encoder"] | {"n_layers": "four"}}  # type: ignore[operator]
        )
    },
    "own_version": {"environment.json": json.dumps(_RECORD | {"versions": {}})},
    "digests": {"environment.json": json.dumps(_RECORD | {"sha256": 5})},
    "deep": {"environment.json": _DEEP},
    "deep_config": {"config.yaml": _DEEP},
    "no_model": {"config.yaml": "model: 5"},
    "kind": {"scores": "no folder"},
}

ODD = (
    ("a plain prompt", ("kitten", "[MASK] is a young cat.")),
    ("the same group again", ("kitten", "[MASK] is a young cat.")),
    ("an emoji", ("kitten", "[MASK] 🐈 is a young cat.")),
    ("Arabic, from right to left", ("kitten", "قال إن [MASK] صغير")),
    ("marks of direction", ("kitten", "\u202b[MASK]\u202c is young.")),
    ("control characters", ("kitten", "[MASK]\x00\x07\x1b[31m is young.")),
    ("a line separator of Unicode", ("kitten", "[MASK]\u2028 is a cat.")),
    ("markup", ("kitten", "<script>alert(1)</script> [MASK].")),
    ("a character of private use", ("kitten", "[MASK]\ue000 is a young cat.")),
    ("a mask inside of a word", ("kitten", "[MASK]s are young.")),
    ("a prompt longer than the encoder takes", ("kitten", "[MASK]" + " cat" * 80)),
    ("an answer of several tokens", ("qwertyuiop", "[MASK] is a cat.")),
    ("an answer that the vocabulary doesn't have", ("Ψ", "[MASK] is greek.")),
)
"""Groups that are no mistake, each of a concept and one prompt."""


def write_odd(path: Path) -> Path:
    """A file of the odd groups, with a byte order mark, empty lines and CRLF."""
    groups = [{"concept": concept, "prompts": [text]} for _, (concept, text) in ODD]
    lines = "\r\n\r\n".join(json.dumps(group, ensure_ascii=False) for group in groups)
    path.write_bytes(f"\ufeff{lines}\r\n".encode())
    return path


def write_material(folder: Path) -> None:
    """Everything that the cases' commands name."""
    for name, line in _LINES.items():
        bad = line if isinstance(line, bytes) else line.encode()
        _write(folder / f"{name}.jsonl", GOOD.encode() + b"\n" + bad)
    for name, text in _TEXTS.items():
        _write(folder / name, text if isinstance(text, bytes) else text.encode())
    with zipfile.ZipFile(folder / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("ConceptNet/test.jsonl", 100 * GOOD)
    whole = (folder / "lzma.zip").read_bytes()
    _write(folder / "lzma.zip", whole[:80] + b"\xff" * 20 + whole[100:])
    (folder / "link").symlink_to("itself.yaml")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.zip")
    _write_models(folder / "models")
    _write_runs(folder / "damaged")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _write_runs(folder: Path) -> None:
    for name, changed in _RUNS.items():
        run = folder / name
        run.mkdir(parents=True)
        for table, schema in {**TABLES, "skipped": SKIPPED_TABLE}.items():
            rows = [_ROW] if table in ("prompts", "neurons") else []
            pq.write_table(pa.Table.from_pylist(rows, schema), run / f"{table}.parquet")
        files = {"environment.json": json.dumps(_RECORD), "config.yaml": "model: {encoder: a}"}
        for file, content in (files | changed).items():
            (run / file).write_text(content)


def _write_models(folder: Path) -> None:
    (folder / "empty").mkdir(parents=True)
    good = folder / "good"
    model, tokenizer = tiny_model("bert")
    model.save_pretrained(good)
    tokenizer.save_pretrained(good)
    names = "no_tokenizer no_head classifier pickled remote_code cut broken_config other_size nan"
    copies = {name: shutil.copytree(good, folder / name) for name in names.split()}
    for file in copies["no_tokenizer"].glob("*token*"):
        file.unlink()
    transformers.BertModel(model.config).save_pretrained(copies["no_head"])
    transformers.BertForSequenceClassification(model.config).save_pretrained(copies["classifier"])
    weights = load_file(good / "model.safetensors")
    (copies["pickled"] / "model.safetensors").unlink()
    torch.save(weights, copies["pickled"] / "pytorch_model.bin")
    config = json.loads((good / "config.json").read_text())
    own = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForMaskedLM": "own.OwnModel"},
    }
    (copies["remote_code"] / "config.json").write_text(json.dumps(config | own))
    (copies["remote_code"] / "own.py").write_text("open('run_by_the_model', 'w').close()\n")
    for name, changed in _CONFIGS.items():
        shutil.copytree(good, folder / name)
        (folder / name / "config.json").write_text(json.dumps(config | changed))
    for name, (file, content) in _FILES.items():
        shutil.copytree(good, folder / name)
        (folder / name / file).write_text(content)
    (folder / "shards" / "model.safetensors").unlink()
    whole = (good / "model.safetensors").read_bytes()
    (copies["cut"] / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    (copies["broken_config"] / "config.json").write_text('{"model_type": "bert", ')
    (copies["other_size"] / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    weights["bert.encoder.layer.1.output.dense.weight"][0, 0] = float("nan")
    save_file(weights, copies["nan"] / "model.safetensors", metadata={"format": "pt"})
    gpt2 = transformers.GPT2Config(vocab_size=60, n_embd=8, n_layer=1, n_head=2, n_positions=8)
    transformers.GPT2LMHeadModel(gpt2).save_pretrained(folder / "gpt2")
    wordpiece_tokenizer().save_pretrained(folder / "gpt2")
