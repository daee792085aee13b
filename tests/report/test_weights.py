"""Weight edits → reliability, generality and locality, in numbers, words and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kn_lightning.errors import InputError
from kn_lightning.report import canvas, weight_figures, write_report
from kn_lightning.report.captions import captions
from kn_lightning.report.caveats import caveats
from kn_lightning.report.listings import listings
from kn_lightning.report.weights import ASPECTS, by_concept, weight_edits
from kn_lightning.report.wording import findings

from .runs import SCRIPT, Rows, WriteRun, near, numbers_of, plain, weight_row

Numbers = dict[str, Any]

FIRST = {"rank_before": 1, "rank_after": 1}
LOST = {"rank_before": 1, "rank_after": 3, "argmax_before": "a", "argmax_after": "b"}
NEVER = {"rank_before": 2, "rank_after": 5}


def planted() -> Rows:
    """Two concepts, erased and updated.

    erase_zero, own: cat 0.8 + 0.4 -> 0.4 + 0.2 (-50 %), one of two first answers lost; dog 0.2 ->
    0.3 (+50 %), never first. Random: cat -10 % and +30 %. Held out: cat -75 %. Others: cat 0 %,
    with one of two first guesses changed. "bare" has no neurons.
    update, own: cat's new answer from 0.01 to 0.9 and 0.5, first in one of two.
    """
    erased = [
        weight_row("cat", "cat/0", "erase_zero", 0.8, 0.4, **LOST),
        weight_row("cat", "cat/1", "erase_zero", 0.4, 0.2, **FIRST),
        weight_row("cat", "cat/2", "erase_zero", 0.4, 0.1, prompt_kind="held_out", **LOST),
        weight_row("cat", "london/0", "erase_zero", 0.5, 0.5, prompt_kind="unrelated", **FIRST),
        weight_row("cat", "dog/0", "erase_zero", 0.2, 0.2, prompt_kind="other", **FIRST),
        weight_row("cat", "dog/1", "erase_zero", 0.2, 0.2, prompt_kind="other", **LOST),
        weight_row("cat", "cat/0", "erase_zero", 0.8, 0.72, neurons="random:0", **FIRST),
        weight_row("cat", "cat/0", "erase_zero", 0.8, 1.04, neurons="random:1", **FIRST),
        weight_row("dog", "dog/0", "erase_zero", 0.2, 0.3, **NEVER),
        weight_row("bare", "bare/0", "erase_zero", 0.5, 0.5, n_neurons=0, **FIRST),
    ]
    new = {"target": "dog", "target_probability_before": 0.01, "target_rank_before": 40}
    updated = [
        weight_row("cat", "cat/0", "update", 0.8, 0.0, **LOST, **new)
        | {"target_probability_after": 0.9, "target_rank_after": 1},
        weight_row("cat", "cat/1", "update", 0.4, 0.0, **LOST, **new)
        | {"target_probability_after": 0.5, "target_rank_after": 2},
        # The new answer is this prompt's own: nothing is said of it as a new one.
        weight_row("cat", "dog/0", "update", 0.2, 0.1, prompt_kind="other", target="dog", **FIRST),
    ]
    return erased + updated


@pytest.fixture
def numbers(make_run: WriteRun, tables: dict[str, Rows], environment: Numbers) -> Numbers:
    """The summary of the planted run with these edits."""
    environment["study"]["weights"] = ["erase_zero", "update"]
    return numbers_of(make_run(tables | {"weight_edits": planted()}, environment))


def test_reliability_is_of_the_prompts_that_were_refined_on(numbers: Numbers) -> None:
    own = numbers["weight_edits"]["erase_zero"]["knowledge"]["reliability"]
    assert (own["n"], own["n_prompts"]) == (2, 3)
    assert own["change"]["median"] == own["change"]["mean"] == near(0.0)  # -50 % and +50 %
    assert own["falls"]["mean"] == near(0.5)
    assert own["as_intended"] == {
        "n": 1,  # dog's answer was never first
        "median": 0.5,
        "median_ci": None,
        "mean": 0.5,
        "mean_ci": None,
    }
    assert own["target_after"]["n"] == 0
    assert own["target_after"]["median"] is None


def test_generality_and_locality_are_of_other_prompts(numbers: Numbers) -> None:
    own = numbers["weight_edits"]["erase_zero"]["knowledge"]
    assert list(own) == ["reliability", "generality", "locality_unrelated", "locality_other"]
    assert own["generality"]["change"]["median"] == near(-0.75)
    assert own["generality"]["as_intended"]["mean"] == 1.0
    assert own["locality_unrelated"]["change"]["median"] == 0.0
    assert own["locality_unrelated"]["as_intended"]["mean"] == 1.0
    assert own["locality_other"]["as_intended"]["mean"] == 0.5  # first guesses kept


def test_draws_of_random_neurons_are_averaged(numbers: Numbers) -> None:
    random = numbers["weight_edits"]["erase_zero"]["random"]
    assert list(random) == ["reliability"]
    assert random["reliability"]["n"] == 1
    assert random["reliability"]["change"]["median"] == near(0.1)
    assert random["reliability"]["as_intended"]["mean"] == 0.0


def test_an_update_wants_the_new_answer(numbers: Numbers) -> None:
    own = numbers["weight_edits"]["update"]["knowledge"]
    assert own["reliability"]["as_intended"]["mean"] == 0.5
    assert own["reliability"]["change"]["median"] == near(-1.0)
    assert own["reliability"]["target_before"]["median"] == near(0.01)
    assert own["reliability"]["target_after"]["median"] == near(0.7)
    assert own["locality_other"]["target_after"]["median"] is None
    assert "random" not in numbers["weight_edits"]["update"]


def test_a_probability_of_zero_has_no_relative_change() -> None:
    rows = pd.DataFrame([weight_row("cat", "cat/0", "erase_zero", 0.0, 0.1, **NEVER)])
    (measured,) = by_concept(rows).to_dict("records")
    assert pd.isna(measured["change"])
    assert measured["falls"] == 0.0


def test_runs_without_weight_edits_say_nothing_of_them(
    make_run: WriteRun, tables: dict[str, Rows], environment: Numbers
) -> None:
    run_dir = make_run(tables, environment)
    page = write_report(run_dir).read_text(encoding="utf-8")
    assert numbers_of(run_dir)["weight_edits"] == {}
    assert "Weight edit" not in page
    assert 'id="weights"' not in page
    assert not (run_dir / "figures" / "weight_edits.png").exists()


def test_a_table_that_was_asked_for_and_is_missing_is_refused(
    make_run: WriteRun, tables: dict[str, Rows], environment: Numbers
) -> None:
    environment["study"]["weights"] = ["erase_zero"]
    with pytest.raises(InputError, match=r"not a finished run, weight_edits\.parquet missing"):
        write_report(make_run(tables, environment))


def test_run_whose_concepts_have_no_neurons_has_a_report(
    make_run: WriteRun, tables: dict[str, Rows], environment: Numbers
) -> None:
    environment["study"]["weights"] = ["erase_zero"]
    rows = [weight_row("bare", "bare/0", "erase_zero", 0.5, 0.5, n_neurons=0)]
    run_dir = make_run(tables | {"neurons": [], "edits": [], "weight_edits": rows}, environment)
    assert "Weight edit" not in write_report(run_dir).read_text(encoding="utf-8")
    assert numbers_of(run_dir)["weight_edits"] == {"erase_zero": {}}


def test_report_has_a_section_with_words_table_and_figure(
    make_run: WriteRun, tables: dict[str, Rows], environment: Numbers
) -> None:
    environment["study"]["weights"] = ["erase_zero", "update"]
    run_dir = make_run(tables | {"weight_edits": planted()}, environment)
    page = plain(write_report(run_dir).read_text(encoding="utf-8"))
    assert 'href="#weights"' in page
    assert 'id="figure-weight_edits"' in page
    assert "acts at all positions" in page
    assert SCRIPT not in page
    markdown = plain((run_dir / "report.md").read_text(encoding="utf-8"))
    assert "## Weight edits" in markdown
    assert "from 1 concept" not in markdown
    assert "| update | reliability | the concept's neurons | 1 | −100.0 %" in markdown


def test_findings_name_every_aspect_and_random_neurons(numbers: Numbers) -> None:
    erased, updated = (plain(text) for text in findings(numbers) if text.startswith("Weight edit"))
    assert "“erase (zero)” of 2 concepts" in erased
    for aspect in ("reliability", "generality −75.0 %", "locality (“london”)", "locality (others)"):
        assert aspect in erased
    assert "random neurons of the same layers reliability is +10.0 % and 0.0 %" in erased
    assert "0.010 in the median before, and 0.700 after" in updated
    assert "random" not in updated


def test_an_edit_that_changes_other_concepts_is_named_a_caveat(numbers: Numbers) -> None:
    (said,) = (text for text in caveats(numbers) if text.startswith("Weight edit"))
    assert "“erase (zero)”: only 50.0 % of the first guesses" in plain(said)


def test_figure_has_a_row_of_panels_for_each_edit(rich_numbers: Numbers) -> None:
    with canvas.style():
        figure = weight_figures.weight_edits("", rich_numbers)
    assert len(figure.axes) == 2 * 3
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["erase (zero)", "", "erase ([UNK])", "", "update", ""]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["reliability", "generality", "locality (“london”)", "locality (others)"]
    limits = {axes.get_xlim() for axes in figure.axes[::2]}
    assert len(limits) == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "the concept's neurons",
        "random ones",
    ]


def test_table_and_caption_of_a_rich_run(rich_numbers: Numbers) -> None:
    table = listings(rich_numbers)["weight_edits"]
    assert len(table.rows) == 3 * 2 * len(ASPECTS)
    assert "63 concepts" in captions(rich_numbers)["weight_edits"].title
    values = [row for row in table.rows if row[0] == "update" and row[1] == "reliability"]
    assert all("[" in row[4] for row in values)


def test_nothing_asked_for_is_nothing(tmp_path: Path) -> None:
    assert weight_edits(None, pd.DataFrame({"concept": []})) == {}
