"""Strange entries of a run folder: links, pipes, and tables of another run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq
import pytest
from test_run_folder import IDENTITY, NO_ROWS, SECONDS, contents, folder, tables

from kn_lightning import run_names
from kn_lightning.errors import InputError
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import TABLES

__all__ = ["folder"]  # the fixture
PLAN = [["0", "0"]]


def _unlocked(path: Path) -> dict[str, bytes | None]:
    """Every file and folder below a run folder, but for the lock of a command that is refused."""
    return {name: own for name, own in contents(path).items() if not name.startswith(".lock")}


def _goes_on(run: Path, overwrite: bool = False) -> None:
    """The same command up to its first pack, and its last table."""
    again = RunFolder(run)
    again.open({"a": 1}, {}, NO_ROWS, dict(IDENTITY), overwrite)
    again.check(PLAN)
    again.write_part(0, tables(0), SECONDS)
    again.close(1)
    again.release()


def test_tables_of_another_run_are_no_results_of_an_unfinished_one(folder: RunFolder) -> None:
    folder.write_part(0, tables(0), SECONDS)
    folder.release()
    for name in TABLES:
        pq.write_table(tables(7)[name], folder.path / f"{name}.parquet")
    before = _unlocked(folder.path)
    assert not folder.is_complete
    with pytest.raises(InputError, match=r"coarse.parquet is none of this run's; move it elsewh"):
        _goes_on(folder.path)
    assert _unlocked(folder.path) == before


def test_parts_of_a_closed_run_stay_where_one_of_its_tables_is_not_its_own(
    folder: RunFolder,
) -> None:
    folder.write_part(0, tables(0), SECONDS)
    folder.close(1)
    (folder.parts / "000000").mkdir(parents=True)
    (folder.path / "edits.parquet").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"edits.parquet is not as the run wrote it"):
        _goes_on(folder.path)
    assert (folder.parts / "000000").is_dir()


@pytest.mark.parametrize(
    "name", ["skipped.parquet.tmp", "prompts.parquet.tmp", ".lock", ".lock.by"]
)
@pytest.mark.parametrize("begun", [True, False])
def test_link_among_the_entries_is_not_written_through(
    folder: RunFolder, tmp_path: Path, name: str, begun: bool
) -> None:
    folder.release()
    (target := tmp_path / "precious").write_text("mine")
    run = folder.path if begun or not name.startswith(".lock") else tmp_path / "new"
    run.mkdir(exist_ok=True)
    (run / name).symlink_to(target)
    _goes_on(run)
    assert target.read_text() == "mine"
    assert not (run / "prompts.parquet").is_symlink()


def test_folder_that_an_entry_links_to_outlives_the_run(folder: RunFolder, tmp_path: Path) -> None:
    folder.release()
    (target := tmp_path / "disk").mkdir()
    (target / "000000.safetensors").write_text("mine")
    (folder.path / "scores").symlink_to(target)
    _goes_on(folder.path, overwrite=True)
    assert not os.path.lexists(folder.path / "scores")
    assert (target / "000000.safetensors").read_text() == "mine"
    assert not list(folder.path.glob(".*"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "prompts.parquet is no file, so none of a run's; move it elsewhere"),
        (lambda path: path.symlink_to("gone"), "prompts.parquet is a link to nothing, so none of"),
    ],
)
def test_what_is_no_file_under_a_tables_name_is_refused_and_left(
    folder: RunFolder, make: Callable[[Path], object], said: str
) -> None:
    make(folder.path / "prompts.parquet")
    with pytest.raises(InputError, match=said):
        _goes_on(folder.path)
    assert os.path.lexists(folder.path / "prompts.parquet")


@pytest.mark.parametrize("name", [".lock", ".lock.by", "stop"])
def test_folder_of_a_files_name_where_no_run_is_yet_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"is a folder, so none of a run's|is not empty"):
        _goes_on(tmp_path / "run")


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "name",
    ["report.md/mine", "parts/mine", "figures/mine.png", "figures/overlap.png/mine", "scores/mine"],
)
def test_overwriting_removes_nothing_where_somethings_is_not_of_a_run(
    folder: RunFolder, name: str, finished: bool
) -> None:
    folder.write_part(0, tables(0), SECONDS)
    if finished:
        folder.close(1)
    folder.release()
    (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
    (folder.path / name).write_text("mine")
    before = _unlocked(folder.path)
    with pytest.raises(InputError, match=r"move it elsewhere"):
        _goes_on(folder.path, overwrite=True)
    assert _unlocked(folder.path) == before


def test_run_computed_again_with_other_bits_and_killed_while_closing_goes_on(
    folder: RunFolder,
) -> None:
    folder.write_part(0, tables(0), SECONDS)
    folder.close(1)
    (folder.path / "neurons.parquet").unlink()
    again = RunFolder(folder.path)
    again.open({"a": 1}, {}, NO_ROWS, dict(IDENTITY))
    again.check(PLAN)
    again.write_part(0, tables(0, n_rows=1) | {"prompts": tables(0)["prompts"]}, SECONDS)
    with (
        mock.patch("kn_lightning.run_folder.move_whole", side_effect=OSError("killed")),
        pytest.raises(OSError, match="killed"),
    ):
        again.close(1)
    again.release()
    _goes_on(folder.path)
    assert pq.read_table(folder.path / "coarse.parquet").num_rows == 1


def test_figures_are_of_these_names() -> None:
    drawn = (Path(run_names.__file__).parent / "report" / "formation_page.py").read_text()
    assert all(f'"{name}": formation_figures.' in drawn for name in run_names.FORMATION_FIGURES)
    assert drawn.count(": formation_figures.") == len(run_names.FORMATION_FIGURES)
