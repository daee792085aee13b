"""What the Explorer embeds: the tables' own numbers, thinned where a study is large."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_lightning.report import explorer, explorer_texts, likeness, write_report
from kn_lightning.report.changes import measured_changes
from kn_lightning.report.tables import RunTables, run_tables
from kn_lightning.report.weights import ASPECTS

from .rich import WEIGHTS, rich_environment, rich_tables
from .runs import SCRIPT, Rows, WriteRun, near, write_run


def content_of(run_dir: Path) -> dict[str, Any]:
    """What the page of a reported run has embedded."""
    html = (run_dir / "report.html").read_text(encoding="utf-8")
    (text,) = re.findall(r'<script type="application/json" id="explorer-data">(.*?)</script>', html)
    content: dict[str, Any] = json.loads(text)
    return content


def explored(tables: RunTables) -> dict[str, Any]:
    return explorer.explorer(tables, measured_changes(tables.edits, tables.neurons))


@pytest.fixture(scope="module")
def rich(rich_run: Path) -> RunTables:
    return run_tables(rich_run)


@pytest.fixture(scope="module")
def data(rich_run: Path) -> dict[str, Any]:
    found: dict[str, Any] = content_of(rich_run)["data"]
    return found


def test_prompts_are_those_of_the_tables(rich: RunTables, data: dict[str, Any]) -> None:
    columns, n = data["prompts"], len(rich.prompts)
    assert columns["text"] == rich.prompts["prompt"].tolist()
    assert columns["before"] == near(rich.prompts["probability"].tolist())
    assert columns["rank"] == rich.prompts["rank"].tolist()
    names = [data["concepts"]["name"][place] for place in columns["concept"]]
    assert names == rich.prompts["concept"].tolist()
    own = rich.edits[
        (rich.edits["neurons"] == "knowledge") & (rich.edits["prompt_kind"] == "related")
    ]
    assert list(columns["after"]) == data["edits"] == list(data["changes"])
    for edit in data["edits"]:
        here = own[own["edit"] == edit].set_index("prompt_id")["probability_after"]
        for prompt, concept, after in zip(
            rich.prompts["prompt_id"], names, columns["after"][edit], strict=True
        ):
            # The first two concepts have no neurons: nothing was edited.
            expected = None if concept < "concept02" else here[prompt]
            assert after == (expected if expected is None else pytest.approx(expected, rel=1e-3))
    assert len(columns["after"]["suppress"]) == n


def test_changes_are_those_of_the_summary(
    rich_numbers: dict[str, Any], data: dict[str, Any]
) -> None:
    names = data["concepts"]["name"]
    for row in rich_numbers["strongest_suppression"]:
        place = names.index(row["concept"])
        columns = data["changes"]["suppress"]
        for name in ("before", "after", "change"):
            assert columns["own"][name][place] == pytest.approx(row[name], rel=1e-3)
        assert columns["random"]["change"][place] == pytest.approx(row["random"], rel=1e-3)
        assert data["concepts"]["n_neurons"][place] == row["neurons"]


def test_neurons_and_what_they_promote_are_those_of_the_tables(
    rich: RunTables, data: dict[str, Any]
) -> None:
    neurons, links = data["neurons"], data["links"]
    found = {
        (data["concepts"]["name"][concept], neurons["layer"][neuron], neurons["neuron"][neuron])
        for concept, neuron in zip(links["concept"], links["neuron"], strict=True)
    }
    expected = list(rich.neurons[["concept", "layer", "neuron"]].itertuples(index=False, name=None))
    assert found == set(expected)
    assert len(links["concept"]) == len(expected)
    assert sum(neurons["n_concepts"]) == len(expected)
    values = rich.values
    assert values is not None
    own = values[values["neurons"] == "knowledge"].astype({"concept": "str"})
    ranks = own.set_index(["concept", "layer", "neuron"])["rank"]
    for concept, neuron, rank in zip(links["concept"], links["neuron"], links["rank"], strict=True):
        name = data["concepts"]["name"][concept]
        assert rank == ranks[name, neurons["layer"][neuron], neurons["neuron"][neuron]]
    assert neurons["promoted"] == [["a", "b"]] * len(neurons["layer"])
    assert neurons["activations"] == [[2.0]] * len(neurons["layer"])
    top = own.drop_duplicates(["layer", "neuron"]).sort_values(["layer", "neuron"])["prompts"]
    texts = rich.prompts.set_index("prompt_id")["prompt"]
    assert [data["prompts"]["text"][each[0]] for each in neurons["prompts"]] == [
        texts[prompts[0]] for prompts in top
    ]


def test_nearest_and_map_are_jaccards_of_the_sets(rich: RunTables, data: dict[str, Any]) -> None:
    names = data["concepts"]["name"]
    sets = {name: set() for name in names}
    for concept, layer, neuron in rich.neurons[["concept", "layer", "neuron"]].to_numpy():
        sets[concept].add((layer, neuron))

    def jaccard(a: str, b: str) -> float:
        return len(sets[a] & sets[b]) / len(sets[a] | sets[b])

    for name, nearest in zip(names, data["nearest"], strict=True):
        indices = sorted(jaccard(name, other) for other in names if other != name and sets[name])
        indices = [index for index in reversed(indices) if index][: likeness.N_NEAREST]
        assert [row[2] for row in nearest] == pytest.approx(indices, abs=5e-4)
        for other, shared, index in nearest:
            assert shared == len(sets[name] & sets[names[other]])
            assert index == pytest.approx(jaccard(name, names[other]), abs=5e-4)
    chosen = [names[place] for place in data["map"]["concepts"]]
    assert len(set(chosen)) == likeness.N_MAP
    expected = [[jaccard(a, b) for b in chosen] for a in chosen]
    np.testing.assert_allclose(data["map"]["jaccard"], expected, atol=5e-4)
    totals = {
        name: sum(jaccard(name, o) for o in names if o != name and sets[name]) for name in names
    }
    assert min(totals[name] for name in chosen) >= max(
        total for name, total in totals.items() if name not in chosen
    )


def test_similar_concepts_stand_side_by_side() -> None:
    places = pd.Series(range(6), index=list("abcdef"))
    rows = [(name, int(name in "ace"), neuron) for name in "abcdef" for neuron in range(4)]
    neurons = pd.DataFrame(rows, columns=["concept", "layer", "neuron"])
    order = likeness.likeness(neurons, places)["map"]["concepts"]
    assert [place % 2 for place in order] in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])


def test_languages_differ_in_their_texts_alone(rich_run: Path, rich_run_ja: Path) -> None:
    english, japanese = content_of(rich_run), content_of(rich_run_ja)
    assert english["data"] == japanese["data"]
    assert english["texts"].keys() == japanese["texts"].keys()
    assert english["texts"]["kinds"]["own"] == "own prompts"
    assert japanese["texts"]["kinds"]["own"] == "関連プロンプト"
    edits = {*english["data"]["edits"], *english["data"]["further"]}
    assert set(english["texts"]["edits"]) == edits
    assert english["texts"]["edits"]["weights:update"] == "weight edit: update"
    assert english["texts"]["edits"]["top:1"] == "suppress 1 neuron (×\xa00)"
    assert not {*japanese["texts"]["edits"].values()} & {*english["texts"]["edits"].values()}


def test_report_md_has_nothing_of_it(rich_run: Path) -> None:
    assert "Explorer" not in (rich_run / "report.md").read_text(encoding="utf-8")


def test_nothing_embedded_ends_its_element(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    for row in (row for rows in tables.values() for row in rows if row.get("concept") == "cat"):
        row["concept"] = "</script><!-- <script>\u2028&amp;"
    run_dir = make_run(tables, environment)
    write_report(run_dir)
    html = (run_dir / "report.html").read_text(encoding="utf-8")
    (text,) = re.findall(r'id="explorer-data">(.*?)</script>', html)
    assert not set("<>&\u2028") & set(text)
    names = json.loads(text)["data"]["concepts"]["name"]
    assert {"</script><!-- <script>\u2028&amp;", SCRIPT} <= set(names)


def test_without_values_or_neurons_or_prompts(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    found = explored(run_tables(make_run(tables, environment)))
    assert "rank" not in found["links"]
    assert "promoted" not in found["neurons"]
    bare = explored(
        run_tables(make_run(tables | {"neurons": [], "edits": []}, environment, "bare"))
    )
    assert bare["links"]["concept"] == bare["edits"] == bare["map"]["concepts"] == []
    assert bare["nearest"] == [[]] * 4
    empty = make_run({name: [] for name in tables}, environment, "empty")
    assert explored(run_tables(empty)) == {}
    write_report(empty)
    assert "explorer" not in (empty / "report.html").read_text(encoding="utf-8")


def test_weight_edits_and_best_neurons_are_those_of_the_tables(
    rich: RunTables, data: dict[str, Any]
) -> None:
    names = data["concepts"]["name"]
    assert [*data["further"]] == [
        *(f"weights:{edit}" for edit in WEIGHTS),
        "top:1",
        "top:5",
        "top:10",
    ]
    assert rich.weight_edits is not None
    expected: dict[tuple[str, str, str], list[Any]] = {}
    for row in rich.weight_edits.to_dict("records"):
        # The first two concepts have no knowledge neurons.
        if row["concept"] >= "concept02":
            kind = f"{row['neurons'].split(':')[0]} {ASPECTS[row['prompt_kind']]}"
            expected.setdefault((f"weights:{row['edit']}", kind, row["concept"]), []).append(row)
    for row in rich.top.to_dict("records"):
        kind = row["source"].split(":")[0]
        expected.setdefault((f"top:{row['k']}", kind, row["concept"]), []).append(row)
    found = {
        (edit, kind, name): [columns[column][place] for column in ("before", "after")]
        for edit, kinds in data["further"].items()
        for kind, columns in kinds.items()
        for place, name in enumerate(names)
        if columns["before"][place] is not None
    }
    assert len(found) == (3 * 8 * 63) + (3 * 2 * 65)
    assert found.keys() == expected.keys()
    for key, rows in expected.items():
        # As many prompts in each draw, so that the mean of means is that of all.
        means = [
            np.mean([row[f"probability_{when}"] for row in rows]) for when in ("before", "after")
        ]
        assert found[key] == pytest.approx(means, rel=1e-3)


def test_large_studies_are_thinned_concept_by_concept(
    rich: RunTables, rich_numbers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_bytes = rich.prompts["prompt"].str.len().sum()
    monkeypatch.setattr(explorer, "PROMPT_BYTES", n_bytes // 2)
    monkeypatch.setattr(explorer, "N_NEURONS", 130)
    monkeypatch.setattr(explorer, "N_VALUES", 1)
    assert rich.values is not None
    last = [[f"{concept}/3"] for concept in rich.values["concept"]]
    found = explored(dataclasses.replace(rich, values=rich.values.assign(prompts=last)))
    assert found["edits"] == ["suppress", "amplify"]
    assert found["further"] == {}
    assert found["left_out"] == {
        "edits.parquet": ["factor:-1", "factor:0.5", "factor:5", "top:1", "top:5", "top:10"],
        "weight_edits.parquet": [f"weights:{edit}" for edit in WEIGHTS],
    }
    said = explorer_texts.texts(found, rich_numbers)
    assert said["left_out"].startswith("Not on this page but in edits.parquet: scale (×")
    assert said["left_out"].endswith(
        "suppress 10 neurons (×\xa00). Not on this page but in weight_edits.parquet: weight edit: "
        "erase (zero); weight edit: erase ([UNK]); weight edit: update."
    )
    kept = len(found["prompts"]["rank"])
    assert pd.Series(found["prompts"]["concept"][:kept]).value_counts().unique().tolist() == [2]
    assert found["concepts"]["n_prompts"] == [4] * 65
    # Prompts that neurons name are there, though their concepts don't show them.
    named = {place for each in found["neurons"]["prompts"] for place in each}
    assert min(named) == kept
    assert max(named) + 1 == len(found["prompts"]["text"]) == len(found["prompts"]["concept"])
    of_each = pd.Series(found["links"]["concept"]).value_counts()
    assert of_each.max() <= 130 // 63
    assert len(of_each) == 63


def test_first_rows_of_every_group_are_kept() -> None:
    groups = pd.Series(list("aaabbc"))
    sizes = pd.Series([5, 5, 5, 5, 5, 5])
    for limit, expected in [(0, "a..b.c"), (15, "a..b.c"), (25, "aa.bbc"), (30, "aaabbc")]:
        kept = explorer.kept_places(groups, sizes, limit)
        assert "".join(np.where(kept, groups, ".")) == expected


def test_long_prompts_are_cut_around_their_mask() -> None:
    assert explorer.shortened("[MASK] is short.") == "[MASK] is short."
    text = explorer.shortened("x" * 5000 + " [MASK] " + "y" * 5000)
    assert len(text) == explorer.N_CHARACTERS + 2
    assert "x [MASK] y" in text
    assert text[0] == text[-1] == "…"


def test_ten_tokens_at_either_end_are_enough(tmp_path: Path) -> None:
    tables = rich_tables()
    tables["values"][0]["promoted"] = [f"token{number}" for number in range(50)]
    run_dir = write_run(tmp_path / "run", tables, rich_environment())
    found = explored(run_tables(run_dir))
    assert max(map(len, found["neurons"]["promoted"])) == explorer.N_NAMED
