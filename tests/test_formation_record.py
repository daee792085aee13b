"""The folder of a formation study, on disk and at an address: whole, gone on with, reported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import pandas as pd
import pytest
import torch
from callbacks.commands import Finished, command, write_jsonl
from encoders.tiny import tiny_model

from kn_lightning.errors import InputError
from kn_lightning.formation import measured
from kn_lightning.formation_record import FormationRecord
from kn_lightning.formation_tables import NEURONS, read_tables
from kn_lightning.remote_place import RemotePlace, place_of
from kn_lightning.report import WRITTEN

ADDRESS = "memory://bucket/record"
DATA = ("--data", "JsonlPrompts", "--data.path", "groups.jsonl", "--data.tag_pos", "false")
FILES = {"formation.json", "formation.parquet", "formation_neurons.parquet", "skipped.parquet"}


CLAIMING = """
import sys
from kn_lightning.formation_record import FormationRecord

FormationRecord(sys.argv[1], "formation").claim({"a": 1}, go_on=True)
"""


@pytest.fixture(autouse=True)
def store() -> Any:
    """The file system of ``memory://``, empty."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = ["", "/bucket"]
    return files


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints of different weights, and prompts."""
    folder = tmp_path_factory.mktemp("material")
    model, tokenizer = tiny_model("bert")
    for step in (0, 10):
        model.save_pretrained(folder / f"step{step}")
        tokenizer.save_pretrained(folder / f"step{step}")
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.1)
    prompts = ["the [MASK] is a small cat.", "a cat was a [MASK].", "the [MASK] sat on the bank."]
    concepts = ("kitten", "puppy", "lamb")
    write_jsonl(folder / "groups.jsonl", *({"concept": c, "prompts": prompts} for c in concepts))
    return folder


def study(material: Path, folder: object, *flags: object) -> Finished:
    names = ("--encoders", "step0", "step10")
    return command("analyze.py", "formation", folder, *names, *DATA, *flags, cwd=material)


def names(store: Any) -> set[str]:
    return {path.rpartition("/")[2] for path in store.ls("/bucket/record", detail=False)}


def tables(address: str = ADDRESS) -> tuple[pd.DataFrame, pd.DataFrame]:
    place = place_of(address, "formation")
    assert isinstance(place, RemotePlace)
    place.fetch(*FILES)
    return read_tables(place.path)


def test_study_at_an_address_is_that_of_a_local_folder(
    material: Path, tmp_path: Path, store: Any
) -> None:
    local, remote = (study(material, folder) for folder in (tmp_path / "record", ADDRESS))
    assert (local.code, remote.code) == (0, 0), remote.err
    assert f"results: {ADDRESS}\nreport:  {ADDRESS}/report.html\n" in remote.out
    assert names(store) == {*FILES, *WRITTEN} == {p.name for p in (tmp_path / "record").iterdir()}
    for one, other in zip(tables(), read_tables(tmp_path / "record"), strict=True):
        pd.testing.assert_frame_equal(one, other)
    page = store.cat_file("/bucket/record/report.html")
    store.rm("/bucket/record/report.html")
    done = command("analyze.py", "report", ADDRESS)
    assert done.code == 0, done.err
    assert store.cat_file("/bucket/record/report.html") == page


def test_study_at_an_address_goes_on_and_another_is_refused(material: Path, store: Any) -> None:
    write, written = RemotePlace.write, []

    def cut_off(place: RemotePlace, name: str, content: bytes) -> None:
        written.append(name)
        if written.count(f"{NEURONS}.parquet") == 2:
            raise OSError(f"{place.name}/{name}: connection lost")
        write(place, name, content)

    with mock.patch.object(RemotePlace, "write", cut_off):
        done = study(material, ADDRESS)
    assert done.code == 1
    assert f"error: {ADDRESS}/{NEURONS}.parquet: connection lost; put that right" in done.err
    assert names(store) == FILES
    assert tables()[0]["step"].unique().tolist() == [0]
    other = study(material, ADDRESS, "--formation.threshold", 0.3)
    assert other.code == 2
    assert f"formation {ADDRESS} holds another formation: it differs in formation.thr" in other.err
    with mock.patch("kn_lightning.checkpoints.measured", wraps=measured) as again:
        assert study(material, ADDRESS).code == 0
    assert again.call_count == 1  # what is there isn't measured again
    assert tables()[0]["step"].unique().tolist() == [0, 10]
    assert store.exists("/bucket/record/report.html")


def test_training_is_followed_to_an_address(material: Path, tmp_path: Path, store: Any) -> None:
    arguments = (
        *("train.py", *DATA, "--model.encoder", "step0", "--export.folder", tmp_path / "encoder"),
        *("--trainer.max_steps", 2, "--formation.every", 1, "--formation.folder", ADDRESS),
        *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
        *("--trainer.log_every_n_steps", 1),
    )
    done = command(*arguments, cwd=material)
    assert done.code == 0, done.err
    assert f"report:  {ADDRESS}/report.html" in done.out
    assert names(store) == {*FILES, *WRITTEN}
    assert tables()[0]["step"].unique().tolist() == [0, 1, 2]
    again = command(*arguments, cwd=material)
    assert again.code == 2
    assert f"formation.folder {ADDRESS} holds a formation already; give a new folder" in again.err


def test_what_a_killed_process_left_is_no_other_thing(tmp_path: Path, store: Any) -> None:
    (tmp_path / ".formation.json.7.tmp").write_text("{")
    store.pipe_file("/bucket/record/.formation.json.7.tmp", b"{")
    for folder in (tmp_path, ADDRESS):
        FormationRecord(folder).check({"a": 1}, go_on=False)
    store.pipe_file("/bucket/record/thesis.txt", b"mine")
    with pytest.raises(InputError, match=f"{ADDRESS} holds other things"):
        FormationRecord(ADDRESS).check({"a": 1}, go_on=True)


def test_tables_of_another_formation_are_no_results_of_this_one(
    material: Path, tmp_path: Path
) -> None:
    runs = (tmp_path / "a", "0.2"), (tmp_path / "b", "0.5")
    for folder, threshold in runs:
        flags = (*DATA, "--encoders", "step0", "step10", "--formation.threshold", threshold)
        done = command("analyze.py", "formation", folder, *flags, cwd=material)
        assert done.code == 0, done.err
    for name in ("formation", "formation_neurons"):
        shutil.copy(tmp_path / "b" / f"{name}.parquet", tmp_path / "a")
    again = command(
        "analyze.py",
        "formation",
        tmp_path / "a",
        *DATA,
        "--encoders",
        "step0",
        "step10",
        cwd=material,
    )
    report = command("analyze.py", "report", tmp_path / "a")
    for done in (again, report):
        assert done.code == 2
        assert "formation.parquet: of another formation than formation.json there" in done.err


def test_folder_is_one_commands_at_a_time_and_stays_as_it_was_found(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("there", "new"):
        record = FormationRecord(tmp_path / name, "formation")
        record.claim({"a": 1}, go_on=True)
        said = subprocess.run(
            [sys.executable, "-c", CLAIMING, str(tmp_path / name)],
            capture_output=True, text=True, check=False,
        ).stderr  # fmt: skip
        assert f"formation {record.name} is being written by process {os.getpid()} on" in said
        assert "give another folder\n" in said
        record.release()
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert not list((tmp_path / "there").iterdir())


def test_file_address_is_a_local_folder(tmp_path: Path) -> None:
    assert FormationRecord(tmp_path.as_uri()).path == tmp_path
