"""How the scripts start, counted instead of timed: what they load, and how often it is searched."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from callbacks.commands import REPOSITORY

from kn_lightning.command import loading

THP = "THP_MEM_ALLOC_ENABLE"

HELP = """
import gc, io, json, runpy, sys
from contextlib import redirect_stdout, suppress

sys.argv = [{script!r}, "--help"]
with redirect_stdout(io.StringIO()) as text, suppress(SystemExit):
    runpy.run_path(sys.argv[0], run_name="__main__")
json.dump(
    {{
        "help": text.getvalue(),
        "modules": list(sys.modules),
        "full_collections": gc.get_stats()[2]["collections"],
        "set_apart": gc.get_freeze_count(),
        "collects": gc.isenabled(),
    }},
    sys.stdout,
)
"""


@pytest.fixture(scope="module", params=["analyze.py", "train.py"])
def started(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A process that has shown its help."""
    done = subprocess.run(
        [sys.executable, "-c", HELP.format(script=request.param)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    state: dict[str, Any] = json.loads(done.stdout)
    assert "--trainer.precision" in state["help"]
    return state


def test_help_loads_no_library_of_reports_loggers_or_taggers(started: dict[str, Any]) -> None:
    # matplotlib, scipy and transformers come with lightning, through torchmetrics.
    unwanted = {"pandas", "seaborn", "statsmodels", "wandb", "tensorboard", "nltk", "captum"}
    assert not unwanted & {name.partition(".")[0] for name in started["modules"]}
    own = {name for name in started["modules"] if name.startswith("kn_lightning.report.")}
    assert own <= {"kn_lightning.report.language"}


def test_modules_load_without_being_searched_for_garbage(started: dict[str, Any]) -> None:
    assert started["full_collections"] == 0
    # And what they hold isn't searched later; the work's own objects are.
    assert started["set_apart"] > 100 * len(started["modules"])
    assert started["collects"]


def test_garbage_is_collected_again_where_loading_fails() -> None:
    def wrong_flag() -> None:
        with loading():
            assert not gc.isenabled()
            raise ValueError("a flag")

    with pytest.raises(ValueError, match="a flag"):
        wrong_flag()
    assert gc.isenabled()


PAGED = """
from kn_lightning.command import loading

with loading():
    import torch

print(*(torch.empty(size << 20, dtype=torch.uint8).data_ptr() % 4096 for size in (2, 5, 33)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="torch asks for huge pages on Linux alone")
@pytest.mark.parametrize(("given", "expected"), [(None, {"0"}), ("0", {"64"})])
def test_torch_puts_large_tensors_on_pages_of_their_own_unless_told_not_to(
    given: str | None, expected: set[str]
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != THP}
    if given is not None:
        environment[THP] = given
    done = subprocess.run(
        [sys.executable, "-c", PAGED],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert set(done.stdout.split()) == expected
