"""A finished run whose tables have been changed is refused, and computed again when asked to."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from callbacks.commands import Finished, analyze, command, no_report, table
from safetensors.torch import load_file
from test_stopping import STUDY

from kn_lightning.digests import DIGESTS, OWN_DIGEST
from kn_lightning.schema import TABLES


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run in one go."""
    return analyze(tmp_path_factory.mktemp("finished") / "run", *STUDY)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def again(run: Path) -> Finished:
    """The same command."""
    with no_report():
        return command("analyze.py", *STUDY, "--run_dir", run)


def _shorter(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 1), path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("name", "spoil"),
    [("neurons", _shorter), ("edits", _shorter), ("neurons", _cut), ("skipped", _cut)],
)
def test_changed_table_is_named_with_the_remedy(
    run: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    spoil(run / f"{name}.parquet")
    done = again(run)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line == (
        f"error: {run}/{name}.parquet is not as the run wrote it; delete it, then run the same"
        " command"
    )


def test_remedy_gives_the_same_run_again(run: Path, finished: Path) -> None:
    _cut(run / "neurons.parquet")
    assert again(run).code == 2
    (run / "neurons.parquet").unlink()
    assert again(run).code == 0
    for name in (*TABLES, "skipped"):
        file = f"{name}.parquet"
        assert (run / file).read_bytes() == (finished / file).read_bytes(), name
    assert again(run).code == 0


def test_stopped_run_without_one_of_its_scores_computes_that_pack_again(
    tmp_path: Path, finished: Path
) -> None:
    run, flags = tmp_path / "run", (*STUDY, "--write.scores", "true")
    with no_report():
        stopped = command(
            "analyze.py", *flags, "--run_dir", run, "--trainer.limit_predict_batches", 2
        )
        assert stopped.code == 2
        (run / "scores" / "000001.safetensors").write_bytes(b"torn")
        refused = command("analyze.py", *flags, "--run_dir", run)
    assert refused.code == 2
    assert f"{run}/parts/000001 is torn: its scores" in refused.err
    shutil.rmtree(run / "parts" / "000001")
    analyze(run, *flags)
    scores = [load_file(run / "scores" / f"{number:06d}.safetensors") for number in range(4)]
    assert sum(map(len, scores)) == 4
    for name in TABLES:
        assert table(run, name) == table(finished, name), name


def test_kept_scores_of_a_finished_run_are_checked_unless_they_were_removed(
    tmp_path: Path,
) -> None:
    run, flags = tmp_path / "run", (*STUDY, "--write.scores", "true")
    analyze(run, *flags)
    kept = run / "scores" / "000001.safetensors"
    digests = json.loads((run / "environment.json").read_text(encoding="utf-8"))[DIGESTS]
    assert digests["scores/000001.safetensors"] == hashlib.sha256(kept.read_bytes()).hexdigest()
    kept.write_bytes(b"torn")
    with no_report():
        refused = command("analyze.py", *flags, "--run_dir", run)
        assert refused.code == 2
        (line,) = refused.err.splitlines()
        assert f"{run}/scores/000001.safetensors is not as the run wrote it; delete it" in line
        assert command("analyze.py", "report", run).code == 0  # which doesn't read them
        kept.unlink()
        assert command("analyze.py", *flags, "--run_dir", run).code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("report",),
        ("neurons", "n.json"),
        ("edit", "new", "--concepts", "x", "--weights", "erase_zero"),
    ],
)
def test_tables_of_another_run_are_no_results_of_an_unfinished_one(
    tmp_path: Path, finished: Path, words: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    with no_report():
        stopped = command(
            "analyze.py", *STUDY, "--run_dir", run, "--trainer.limit_predict_batches", 1
        )
    assert stopped.code == 2
    for path in finished.glob("*.parquet"):
        shutil.copy(path, run)
    name, *rest = words
    done = command("analyze.py", name, run, *rest)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert f"{run}: not a finished run, and its tables are of another; move them" in line


def test_run_from_before_there_were_digests_is_read_as_it_is(run: Path) -> None:
    path = run / "environment.json"
    environment = json.loads(path.read_text(encoding="utf-8"))
    tables = {f"{name}.parquet" for name in (*TABLES, "skipped")}
    assert set(environment.pop(DIGESTS)) == {"config.yaml", *tables}
    del environment[OWN_DIGEST]
    path.write_text(json.dumps(environment), encoding="utf-8")
    _shorter(run / "edits.parquet")
    assert again(run).code == 0
    assert len(table(run, "edits")) == 1


def test_changed_settings_are_named_and_written_anew_where_they_were_deleted(run: Path) -> None:
    config = (run / "config.yaml").read_bytes()
    (run / "config.yaml").write_text("garbage: [")
    done = again(run)
    assert done.code == 2
    assert done.err == (
        f"error: {run}/config.yaml is not as the run wrote it; delete it, then run the same"
        " command\n"
    )
    (run / "config.yaml").unlink()
    assert again(run).code == 0
    assert (run / "config.yaml").read_bytes() == config
    assert again(run).code == 0


def test_changed_record_is_refused(run: Path) -> None:
    path = run / "environment.json"
    said = path.read_text(encoding="utf-8")
    path.write_text(said.replace('"n_layers": 4', '"n_layers": 40'), encoding="utf-8")
    done = again(run)
    assert done.code == 2
    assert f"{run}/environment.json is not as the run wrote it" in done.err
    assert "--overwrite true" in done.err
    path.write_text(said, encoding="utf-8")
    assert again(run).code == 0


@pytest.mark.parametrize("flags", [(), ("--overwrite", "true")])
def test_what_lies_in_a_part_of_a_finished_run_is_not_removed(
    run: Path, flags: tuple[str, ...]
) -> None:
    (run / "parts" / "000000").mkdir(parents=True)
    (run / "parts" / "000000" / "edits.parquet").write_text("")
    thesis = run / "parts" / "000000" / "thesis.txt"
    thesis.write_text("mine")
    with no_report():
        done = command("analyze.py", *STUDY, *flags, "--run_dir", run)
    assert done.code == 2
    assert f"{thesis} is none of this study's; move it elsewhere" in done.err
    assert thesis.read_text() == "mine"
    thesis.unlink()
    assert again(run).code == 0
    assert not (run / "parts").exists()
