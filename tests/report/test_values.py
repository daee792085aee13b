"""Value vectors → ranks of concepts beside random neurons, in numbers, words and a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kn_lightning.errors import InputError
from kn_lightning.report import canvas, value_figures, write_report
from kn_lightning.report.caveats import caveats
from kn_lightning.report.listings import listings
from kn_lightning.report.tables import run_tables
from kn_lightning.report.wording import findings

from .runs import SCRIPT, Rows, WriteRun, near, numbers_of, plain, value_row

Numbers = dict[str, Any]


def planted() -> Rows:
    """Ranks: cat 1, 5, 300 (median 5), dog 20, script 2000; random: cat 50 and 5000, dog 200.

    Script has no random neuron: 2 pairs. Of cat's neurons a third is negative and a third beyond
    100. Script's tokens and prompts are what must never reach a page unescaped.
    """
    return [
        value_row("cat", 3, 7, 1, activation=-0.5),
        value_row("cat", 3, 8, 5),
        value_row("cat", 1, 7, 300),
        value_row("cat", 3, 1, 50, "random:0"),
        value_row("cat", 1, 1, 5000, "random:1"),
        value_row("dog", 3, 7, 20, prompts=["cat/0", "cat/1", "dog/0"]),
        value_row("dog", 3, 2, 200, "random:0"),
        value_row(SCRIPT, 3, 7, 2000, promoted=[SCRIPT, "|"], demoted=["*", "$"]),
    ]


@pytest.fixture
def run(make_run: WriteRun, tables: dict[str, Rows], environment: Numbers) -> Any:
    """The planted run with these values."""
    environment["study"]["values"] = 2
    return make_run(tables | {"values": planted()}, environment)


def test_ranks_are_medians_over_concepts_of_medians_over_neurons(run: Any) -> None:
    found = numbers_of(run)["values"]
    own, random = found["knowledge"], found["random"]
    assert (own["n_concepts"], own["n_neurons"], own["median"]) == (3, 5, 20)
    assert (random["n_concepts"], random["n_neurons"]) == (2, 3)
    assert random["median"] == near((2525 + 200) / 2)
    assert own["top_10"] == near((2 / 3 + 0 + 0) / 3)
    assert own["top_100"] == near((2 / 3 + 1 + 0) / 3)
    assert found["n"] == 2
    assert found["times"] == near(np.sqrt(2525 / 5 * 200 / 20))
    assert found["test"] is None  # two pairs are too few
    assert found["negative"] == near(1 / 5)
    assert list(found["by_layer"]) == ["1", "3"]
    assert found["by_layer"]["1"]["knowledge"]["median"] == 300
    assert found["by_layer"]["3"]["knowledge"]["n_neurons"] == 4


def test_strongest_are_the_largest_scores_of_each_concept_with_their_prompts(run: Any) -> None:
    rows = numbers_of(run)["values"]["strongest"]
    assert [(row["concept"], row["neuron"]) for row in rows] == [
        ("dog", 7),
        ("cat", 7),
        (SCRIPT, 7),
    ]
    assert rows[0]["prompts"] == ["[MASK] is cat/0.", "[MASK] is cat/1."]
    assert rows[2]["promoted"] == [SCRIPT, "|"]


def test_test_is_scipys_over_pairs_of_concepts(rich_numbers: Numbers, rich_run: Any) -> None:
    found = rich_numbers["values"]
    rows = pd.read_parquet(rich_run / "values.parquet")
    rows["own"] = rows["neurons"] == "knowledge"
    medians = rows.groupby(["concept", "own"])["rank"].median().unstack()
    higher = np.log10(medians[False] / medians[True])
    expected = stats.wilcoxon(higher, zero_method="pratt")
    assert found["test"]["p"] == near(expected.pvalue)
    assert found["test"]["n_a"] == found["n"] == len(higher) == 63
    assert found["test"]["effect_size"] > 0.5
    assert found["times"] == near(10 ** higher.median())
    low, high = found["times_ci"]
    assert 1 < low < found["times"] < high
    tests = [layer["test"] for layer in found["by_layer"].values() if layer["test"]]
    assert len(tests) > 5
    assert [test["p_adjusted"] for test in tests] == near(
        stats.false_discovery_control([test["p"] for test in tests]).tolist()
    )


def test_words_tables_and_figure_are_on_the_page_and_escaped(run: Any) -> None:
    page = plain(write_report(run).read_text(encoding="utf-8"))
    assert 'href="#values"' in page
    assert 'id="figure-values"' in page
    assert "This is an approximation" in page
    assert "put the concept at rank 20" in page
    assert SCRIPT not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, |" in page
    markdown = (run / "report.md").read_text(encoding="utf-8")
    assert "## Key and value" in markdown
    assert SCRIPT not in markdown
    assert r"\*, \$" in markdown


def test_findings_name_ranks_test_and_effect(rich_numbers: Numbers) -> None:
    (said,) = (plain(text) for text in findings(rich_numbers) if "value vectors" in text)
    assert "of 2,100 tokens (63 concepts" in said
    assert "Wilcoxon signed-rank test of the logarithm, paired by concept, n = 63, p " in said
    assert "rank-biserial r = " in said


def test_what_the_ranks_cannot_show_is_a_caveat(run: Any, rich_numbers: Numbers) -> None:
    said = [plain(text) for text in caveats(numbers_of(run)) if text.startswith("Value vectors")]
    assert "no independent evidence" in said[0]
    assert "20.0 % of the knowledge neurons are negative" in said[1]
    assert sum(text.startswith("Value vectors") for text in caveats(rich_numbers)) == 1


def test_figure_shows_every_neuron_and_every_layer(rich_run: Any, rich_numbers: Numbers) -> None:
    tables = run_tables(rich_run)
    with canvas.style():
        figure = value_figures.values("", rich_numbers, tables)
    above, below = figure.axes
    shares = [line for line in above.lines if not line.get_label().startswith("_")]
    assert tables.values is not None
    sizes = (tables.values["neurons"] == "knowledge").value_counts()
    for line, own in zip(shares[:2], (True, False), strict=True):
        assert len(line.get_xdata()) == sizes[own] + 1
        assert line.get_ydata()[-1] == 1
    medians = [
        layer["knowledge"]["median"] for layer in rich_numbers["values"]["by_layer"].values()
    ]
    assert below.lines[0].get_ydata().tolist() == near(medians)
    assert shares[2].get_ydata()[-1] == 1
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels == ["the concept's neurons", "random neurons of the same layers", "by chance"]


def test_table_has_a_row_for_all_and_one_a_layer(rich_numbers: Numbers) -> None:
    found = listings(rich_numbers)
    layers = [row[0] for row in found["values"].rows]
    assert layers == ["all", *rich_numbers["values"]["by_layer"]]
    assert len(found["value_neurons"].rows) == 25


def test_run_that_did_not_ask_has_no_section(
    make_run: WriteRun, tables: dict[str, Rows], environment: Numbers
) -> None:
    run_dir = make_run(tables, environment)
    assert "Key and value" not in write_report(run_dir).read_text(encoding="utf-8")
    assert numbers_of(run_dir)["values"] == {}
    environment["study"]["values"] = 2
    with pytest.raises(InputError, match=r"not a finished run, values\.parquet missing"):
        write_report(make_run(tables, environment, "asked"))


@pytest.mark.parametrize("rows", [[], [value_row("cat", 3, 7, 4)]], ids=["none", "no control"])
def test_runs_without_neurons_or_random_ones_have_a_report(
    make_run: WriteRun, tables: dict[str, Rows], environment: Numbers, rows: Rows
) -> None:
    environment["study"]["values"] = 2
    run_dir = make_run(tables | {"values": rows}, environment)
    page = plain(write_report(run_dir).read_text(encoding="utf-8"))
    assert ("at rank 4 of" in page) is bool(rows)
    assert ("there is no knowledge neuron to read" in page) is not bool(rows)
