"""Which W&B run a folder goes on with: noted whole, and refused where that is no id."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
from lightning.pytorch.loggers import WandbLogger

from kn_lightning.errors import InputError
from kn_lightning.run_folder import RunFolder
from kn_lightning.run_names import RUN_ID
from kn_lightning.wandb_run import hide_secrets, note_runs, open_runs


@pytest.fixture
def logger() -> mock.Mock:
    """A W&B logger whose run has an id."""
    made = mock.Mock(spec=WandbLogger)
    made.experiment = mock.Mock(id="abc-123", disabled=False)
    return made


def test_run_is_noted_whole_or_not_at_all(logger: mock.Mock, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    killed = mock.patch("os.replace", side_effect=OSError("killed"))
    with killed, pytest.raises(OSError, match="killed"):
        note_runs([logger], folder)
    assert not (tmp_path / RUN_ID).exists()
    note_runs([logger], folder)
    with mock.patch.dict(os.environ):
        os.environ.pop("WANDB_RUN_ID", None)
        open_runs([logger], folder)
        assert os.environ["WANDB_RUN_ID"] == "abc-123"


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff\xfe", b"abc 123", b"abc\n", b"../abc"])
def test_what_is_no_id_is_refused_with_the_remedy(
    logger: mock.Mock, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / RUN_ID).write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_runs([logger], RunFolder(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path / RUN_ID}: {content!r} is no id of a W&B run; delete it, and a new run is begun"
    )
    (tmp_path / RUN_ID).unlink()
    with mock.patch.dict(os.environ):
        os.environ.pop("WANDB_RUN_ID", None)
        open_runs([logger], RunFolder(tmp_path))
        assert "WANDB_RUN_ID" not in os.environ


def test_what_is_shown_of_a_run_has_no_secrets() -> None:
    logger = WandbLogger(
        offline=True,
        config={"db": "postgres://me:hunter2@h/db", "api_key": "hunter2", "x": {"seed": 3}},
        notes="from https://me:hunter2@h/x?token=hunter2 it came",
        tags=["https://me:hunter2@h/"],
        settings={"api_key": "hunter2"},
    )
    hide_secrets([logger])
    given = logger._wandb_init
    assert given["config"] == {"db": "postgres://h/db", "api_key": None, "x": {"seed": 3}}
    assert given["notes"] == "from https://h/x it came"
    assert given["tags"] == ["https://h/"]
    assert given["settings"] == {"api_key": "hunter2"}  # that is for W&B, and no page shows it
