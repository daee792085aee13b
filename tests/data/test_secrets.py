"""Secrets of the environment and of addresses are in nothing that a study writes or says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml
from callbacks.commands import REPOSITORY

from kn_lightning.environment import without_secrets

from .conftest import Server

NAMES = ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "GITHUB_TOKEN")


def test_no_secret_of_environment_or_address_is_in_any_file_or_line(
    tmp_path: Path, server: Server, cache: Path
) -> None:
    sentinels = {name: f"5e7t1ne1{number}" * 5 for number, name in enumerate(NAMES)}
    record = {
        "sub": "kitten",
        "obj_label": "cat",
        "masked_sentences": [f"a kitten {verb} [MASK]." for verb in ("eats", "sees", "has", "is")],
    }
    lines = [{**record, "masked_sentences": [text]} for text in record["masked_sentences"]]
    with zipfile.ZipFile(tmp_path / "lama.zip", "w") as writer:
        content = "".join(json.dumps(line) + "\n" for line in lines)
        writer.writestr("data/ConceptNet/test.jsonl", content)
    server.files["/data.zip?token=t0ken"] = (tmp_path / "lama.zip").read_bytes()
    plain = server.url("/data.zip")
    url = plain.replace("http://", "http://m3user:pa55word@") + "?token=t0ken"
    home = tmp_path / "home"
    home.mkdir()
    command = [
        sys.executable, str(REPOSITORY / "analyze.py"), "--run_dir", "run",
        "--data", "LamaPrompts", "--data.url", url, "--data.tag_pos", "false",
        "--edit.control_seeds", "1", "--track.interval", "0",
        "--config", str(REPOSITORY / "configs/logger/wandb.yaml"),
        "--trainer.logger.offline", "true",
    ]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1", **sentinels}
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    written = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    names = {path.name for path in written}
    assert {"config.yaml", "environment.json", "report.html", "neurons.parquet"} <= names
    assert any(name.endswith(".wandb") for name in names)
    said = {"stdout": done.stdout, "stderr": done.stderr, **written}
    for secret in (*sentinels.values(), "m3user", "pa55word", "t0ken"):
        assert [name for name, text in said.items() if secret.encode() in text] == [], secret
    kept = yaml.safe_load((home / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert kept["data"]["init_args"]["url"] == plain


def test_settings_are_kept_without_keys_and_with_their_paths() -> None:
    logger = {"api_key": "k", "token": "t", "password": "p", "save_dir": "/home/me", "name": None}
    settings = {"trainer": {"logger": [{"init_args": logger}]}, "data": {"pack_tokens": 3}}
    kept = without_secrets(settings)
    empty = {"api_key": None, "token": None, "password": None}
    assert kept["trainer"]["logger"] == [{"init_args": logger | empty}]
    assert kept["data"] == {"pack_tokens": 3}
    assert without_secrets("https://u:p@host/x?y") == "https://host/x"


def test_what_any_logger_calls_a_secret_is_in_no_config_and_a_column_stays() -> None:
    names = (
        *("key", "passwd", "auth", "license_key", "api_key", "pwd", "HF_TOKEN", "apiKey"),
        *("private_key", "Authorization", "x-api-key", "tokens"),
    )
    logger = {"opts": dict.fromkeys(names, "hunter"), "key": "hunter", "max_tokens": 5}
    data = {"text_key": "text", "pack_tokens": 3, "special_tokens": ["a"], "auth": "hunter"}
    plain = {"keep": "a", "author": "b", "save_dir": "logs", "log_key": True}
    settings = {"trainer": {"logger": [{"init_args": logger | plain}]}, "data": data}
    kept = without_secrets(settings)
    assert "hunter" not in str(kept)
    init = kept["trainer"]["logger"][0]["init_args"]
    assert init == plain | {"opts": dict.fromkeys(names), "key": None, "max_tokens": 5}
    assert kept["data"] == data | {"auth": None}
