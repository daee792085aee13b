"""The Explorer in a real browser: search, sort, links, keyboard, phone, dark, odd names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from kn_lightning.report import write_report

from .rich import rich_environment, rich_tables
from .runs import SCRIPT, plain, prompt_row, value_row, write_run

ODD = {
    "concept02": SCRIPT,
    "concept03": '<!-- </title> "it\'s" & 100% #=?',
    "concept04": "שלום עולם",
    "concept05": "🐈 \u2028 {n}",
    "concept06": "__proto__",
}
"""What concepts may be called, and no page may stumble over."""

pytestmark = pytest.mark.slow


def odd_tables() -> dict[str, list[dict[str, Any]]]:
    """Concepts with odd names, one of which says so in its prompts and tokens too."""
    tables = rich_tables()
    for row in (row for rows in tables.values() for row in rows):
        if row.get("concept") in ODD:
            row["concept"] = ODD[row["concept"]]
        if "prompt" in row and row["concept"] == SCRIPT:
            row["prompt"] = f"[MASK] {SCRIPT}"
    shared = value_row(SCRIPT, 11, 0, 1, promoted=[SCRIPT, "שלום"], demoted=["<b>", "&lt;"])
    tables["values"] = [
        row for row in tables["values"] if (row["layer"], row["neuron"]) != (11, 0)
    ] + [shared | {"prompts": ["concept02/0"], "activations": [2.5]}]
    return tables


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def odd_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report on concepts with odd names."""
    run_dir = tmp_path_factory.mktemp("odd") / "run"
    return write_report(write_run(run_dir, odd_tables(), rich_environment())).as_uri()


@pytest.fixture(scope="module")
def long_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report with 130 prompts of a concept, concepts of a neuron, and neurons."""
    tables = rich_tables()
    tables["prompts"] += [prompt_row(f"many/{n}", "many", relation="IsA") for n in range(130)]
    for concept in (f"more{number:03}" for number in range(130)):
        tables["prompts"].append(prompt_row(f"{concept}/0", concept))
        tables["neurons"].append(
            {"concept": concept, "layer": 0, "neuron": 500, "share": 1.0, "score": 0.1}
        )
    tables["neurons"] += [
        {"concept": "more000", "layer": 1, "neuron": neuron, "share": 1.0, "score": 0.1}
        for neuron in range(100, 230)
    ]
    run_dir = tmp_path_factory.mktemp("long") / "run"
    return write_report(write_run(run_dir, tables, rich_environment())).as_uri()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Opens an address; at the end nothing was said on the console, and nothing asked for."""
    contexts, said, requests = [], [], []

    def open_page(address: str, width: int = 1280, scheme: str = "light") -> Any:
        size = {"width": width, "height": 800}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def first_cells(page: Any, part: str = "#explorer-list") -> list[str]:
    """The first cell of each row of a table."""
    return list(page.locator(f"{part} tbody th").all_text_contents())


def shows(page: Any, title: str) -> bool:
    """Wait until the view has this title."""
    view = "document.querySelector('#explorer-view h3')"
    page.wait_for_function(f"title => {view}?.textContent.startsWith(title)", arg=title)
    return True


def go(page: Any, address: str) -> None:
    """Go to another address of the page."""
    page.evaluate(
        """address => new Promise((done) => {
            window.addEventListener("hashchange", () => setTimeout(done), { once: true });
            location.hash = address;
        })""",
        address,
    )


def test_search_shows_what_matches_and_says_how_many(opened: Any, rich_run: Path) -> None:
    page = opened((rich_run / "report.html").as_uri())
    assert page.locator("#explorer-status").text_content() == "Concepts shown: 65 of 65"
    page.get_by_label("Search concepts").fill(" CONCEPT1")
    assert first_cells(page) == [f"concept1{digit}" for digit in range(10)]
    assert page.get_by_role("status").text_content() == "Concepts shown: 10 of 65"
    page.get_by_label("Search concepts").fill("nowhere")
    assert first_cells(page) == []


def test_search_finds_neurons_by_number_and_by_the_tokens_that_they_promote(
    opened: Any, odd_page: str
) -> None:
    page = opened(odd_page)
    names = sorted({(row["layer"], row["neuron"]) for row in odd_tables()["neurons"]})
    found, box = page.locator("#explorer-neurons"), page.get_by_label("Search concepts")
    assert not found.is_visible()
    for sought, start in (
        ("11-", "11-"),
        ("11.6", "11-6"),
        (" 3-2", "3-2"),
        ("layer 3", "3-"),
        ("(3, 2", "3-2"),
        ("3 2", "3-2"),
        ("第３層", "3-"),
    ):
        box.fill(sought)
        expected = [f"{layer}-{neuron}" for layer, neuron in names]
        expected = [name for name in expected if name.startswith(start)]
        assert len(expected) > 1
        assert found.locator("a").all_text_contents() == expected
        assert f"token: {len(expected)}." in found.text_content()
        n = len(expected)
        concepts = f"Concepts shown: 0 of 65. Neurons shown: {n} of {n}"
        assert page.get_by_role("status").text_content() == concepts
    for sought in ("(11, 0)", "11 0", "11,0", "Layer 11, neuron 0", "第 11 層、ニューロン 0"):
        box.fill(sought)
        assert found.locator("a").all_text_contents() == ["11-0"]
    for token in (SCRIPT.upper(), "שלום"):
        box.fill(token)
        assert found.locator("a").all_text_contents() == ["11-0"]
    for nothing in ("", "11-99999", "shalom", "__proto__", SCRIPT[1:], "<b>"):
        box.fill(nothing)
        assert not found.is_visible()
    box.fill("A")  # promoted by all others, of which the page names the first hundred
    assert found.locator("a").count() == min(100, len(names) - 1)
    box.fill("11-0")
    found.get_by_role("link", name="11-0", exact=True).click()
    assert shows(page, "Layer 11, neuron 0")


def test_search_says_how_many_neurons_there_are_beyond_a_hundred_and_shows_them(
    opened: Any, long_page: str
) -> None:
    page = opened(long_page)
    found, status = page.locator("#explorer-neurons"), page.get_by_role("status")
    page.get_by_label("Search concepts").fill("1-")
    n = int(re.findall(r"token: (\d+)\.", found.text_content())[0])
    assert n >= 130
    assert found.locator("a").count() == 100
    assert status.text_content().endswith(f"Neurons shown: 100 of {n}")
    found.get_by_role("button", name=f"Show all {n} neurons").press("Enter")
    names = found.locator("a").all_text_contents()
    assert len(set(names)) == len(names) == n
    assert {f"1-{neuron}" for neuron in range(100, 230)} <= {*names}
    assert status.text_content().endswith(f"Neurons shown: {n} of {n}")
    assert page.evaluate("document.activeElement.textContent") == names[100]
    assert found.get_by_role("button").count() == 0
    page.get_by_label("Search concepts").fill("nowhere")
    assert not found.is_visible()
    assert status.text_content() == "Concepts shown: 0 of 196"


def test_columns_sort_both_ways_and_say_so(opened: Any, rich_run: Path) -> None:
    page = opened((rich_run / "report.html").as_uri())
    head = page.locator("#explorer-list th", has_text="Neurons")
    column = page.locator("#explorer-list tbody td:nth-child(4)")
    page.get_by_label("Search concepts").fill("concept0")
    for way in ("descending", "ascending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == way
        sizes = [int(text) for text in column.all_text_contents()]
        assert sizes == sorted(sizes, reverse=way == "descending")
        assert len(set(sizes)) > 3
    sorted_by = page.locator("#explorer-list thead th:not([aria-sort=none])")
    assert sorted_by.count() == 1
    assert page.get_by_role("status").text_content() == "Concepts shown: 10 of 65"


def test_concepts_and_neurons_are_followed_and_back(opened: Any, rich_run: Path) -> None:
    page = opened((rich_run / "report.html").as_uri())
    page.locator("#explorer-list").get_by_text("concept07").click()
    assert shows(page, "concept07")
    assert page.url.endswith("#concept=concept07")
    assert page.evaluate("document.activeElement.textContent") == "concept07"
    assert page.locator("#explorer-list [aria-current]").text_content() == "concept07"
    page.locator("#explorer-view").get_by_role("link", name="11-0", exact=True).click()
    assert shows(page, "Layer 11, neuron 0")
    assert page.title().startswith("11-0 – ")
    page.locator("#explorer-view").get_by_role("link", name="concept12").first.click()
    assert shows(page, "concept12")
    page.go_back()
    assert shows(page, "Layer 11, neuron 0")
    page.go_back()
    assert shows(page, "concept07")
    page.go_back()
    page.locator("#explorer-view").get_by_text("Choose a concept in the table").wait_for()
    page.get_by_role("link", name="Trust").click()  # the page's own links go on working
    assert page.evaluate("document.querySelector('#trust').getBoundingClientRect().top") < 400


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("#concept=nobody", "This run has no concept “nobody”."),
        ("#concept=100%", "This run has no concept “100%”."),
        ("#concept=%3Cb%3Ex", "This run has no concept “<b>x”."),
        ("#neuron=11-99999", "“11-99999” is no knowledge neuron"),
        ("#neuron=constructor", "“constructor” is no knowledge neuron"),
    ],
)
def test_unknown_addresses_are_named(opened: Any, rich_run: Path, address: str, said: str) -> None:
    page = opened((rich_run / "report.html").as_uri() + address)
    assert shows(page, said)


def test_all_is_reached_by_keyboard(opened: Any, rich_run: Path) -> None:
    page = opened((rich_run / "report.html").as_uri())
    page.get_by_label("Search concepts").focus()
    page.keyboard.type("concept2")
    page.keyboard.press("Tab")  # the table, which scrolls
    focused = "document.activeElement"
    assert page.evaluate(f"{focused}.getAttribute('role')") == "region"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#explorer-list th").first.get_attribute("aria-sort") == "ascending"
    assert page.evaluate(f"{focused}.textContent") == "Concept"  # a sort keeps the focus
    page.keyboard.press("Enter")
    assert first_cells(page)[0] == "concept29"
    page.locator("#explorer-list thead button").last.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert shows(page, "concept29")
    outline = page.evaluate(f"getComputedStyle({focused}).outlineStyle")
    assert outline == "solid"
    page.locator("#explorer-map summary").focus()
    page.keyboard.press("Enter")
    assert page.locator(".map tbody tr").count() == 30


@pytest.mark.parametrize(
    ("address", "title", "tag"),
    [("#concept=many", "many", "TR"), ("#neuron=0-500", "Layer 0, neuron 500", "A")],
)
def test_show_all_goes_on_at_the_first_new_row(
    opened: Any, long_page: str, address: str, title: str, tag: str
) -> None:
    page = opened(long_page + address)
    assert shows(page, title)
    rows = page.locator("#explorer-view table").first.locator("tbody tr")
    assert rows.count() == 100
    button = page.locator("#explorer-view").get_by_role("button", name="Show all 130 rows")
    button.focus()
    page.keyboard.press("Enter")
    assert rows.count() == 130
    focused = "document.activeElement"
    assert page.evaluate(f"{focused}.tagName") == tag
    assert page.evaluate(f"{focused}.closest('tr').rowIndex") == 101  # the head is row 0


def test_every_table_has_a_name_and_heads(opened: Any, rich_run: Path) -> None:
    page = opened((rich_run / "report.html").as_uri())
    page.locator("#explorer-map summary").click()
    for address in ("#concept=concept07", "#neuron=11-0"):
        go(page, address)
        tables = page.locator("#explorer table")
        assert tables.count() >= 5
        for table in tables.all():
            name = page.locator(f"#{table.get_attribute('aria-labelledby')}")
            assert name.text_content()
            assert table.locator("thead th[scope=col]").count() >= 2
            rows = table.locator("tbody tr").count()
            assert table.locator("tbody th[scope=row]").count() == rows > 0


def test_cells_say_what_the_report_would(opened: Any, rich_run: Path) -> None:
    from kn_lightning.report.numerals import percent, probability

    numbers = json.loads((rich_run / "summary.json").read_text(encoding="utf-8"))
    row = numbers["strongest_suppression"][0]
    page = opened((rich_run / "report.html").as_uri() + f"#concept={row['concept']}")
    own = page.locator("#explorer-view tr", has_text=re.compile("suppress.*own prompts")).first
    cells = [plain(text) for text in own.locator("td").all_text_contents()]
    expected = (probability(row["before"]), probability(row["after"]), percent(row["change"]))
    assert cells == ["own prompts", *map(plain, expected)]


def test_weight_edits_and_best_neurons_stand_beside_the_other_edits(
    opened: Any, rich_run: Path
) -> None:
    page = opened((rich_run / "report.html").as_uri() + "#concept=concept07")
    table = page.get_by_role("table", name="Means by edit")
    rows = [
        plain(" | ".join(row.locator("th, td").all_text_contents()))
        for row in table.locator("tbody tr").all()
    ]
    assert len(rows) == 5 * 7 + 3 * 8 + 3 * 2
    assert any(
        row.startswith("weight edit: erase (zero) | generality; random ones | 0.400 | ")
        for row in rows
    )
    best = "suppress 10 neurons (× 0) | own prompts; the concept's best neurons | 0.400 | "
    assert any(row.startswith(best) for row in rows)
    note = "What weight edits do to it is in weight_edits.parquet."
    assert page.locator("#explorer-view").get_by_text(note).is_visible()
    # Without knowledge neurons it has best neurons, and no weight edits.
    go(page, "#concept=concept00")
    assert shows(page, "concept00")
    first = table.locator("tbody th").all_text_contents()
    assert len(first) == 6
    assert not [text for text in first if text.startswith("weight edit")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_shows_all_without_scrolling_sideways(
    opened: Any, odd_page: str, scheme: str
) -> None:
    page = opened(odd_page, 360, scheme)
    page.locator("#explorer-map summary").click()
    for address in ("#concept=concept07", "#neuron=11-0", "#concept=concept00"):
        go(page, address)
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 24, 29)" if scheme == "dark" else "rgb(255, 255, 255)")
    ink = page.evaluate("getComputedStyle(document.querySelector('#explorer-search')).color")
    assert ink == ("rgb(230, 233, 236)" if scheme == "dark" else "rgb(27, 31, 36)")


def test_odd_names_are_only_ever_text(opened: Any, odd_page: str) -> None:
    page = opened(odd_page)
    names = first_cells(page)
    for name in ODD.values():
        page.locator("#explorer-list tbody a").nth(names.index(name)).click()
        assert shows(page, name)
    go(page, "#neuron=11-0")
    tokens = page.locator("#explorer-view table").nth(1).locator("td").all_text_contents()
    assert tokens == [SCRIPT, "<b>", "שלום", "&lt;"]
    assert page.locator("#explorer-view bdi script, #explorer-view b").count() == 0
    assert page.locator("script").count() == 2


def test_japanese_explorer_is_japanese(opened: Any, rich_run_ja: Path) -> None:
    page = opened((rich_run_ja / "report.html").as_uri() + "#concept=concept07", 360)
    words = page.locator("#explorer h4, #explorer thead th, #explorer .note").all_text_contents()
    latin = [text for text in words if not re.search("[\u3040-\u30ff\u4e00-\u9fff]", text)]
    # Of the map, heads of columns are concepts.
    assert [text for text in latin if text and not text.startswith("concept")] == []


def test_page_without_javascript_says_so(browser: Any, rich_run: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((rich_run / "report.html").as_uri())
    assert "needs JavaScript" in page.locator("#explorer noscript").inner_text()
    assert not page.locator("#explorer-search").is_visible()
    context.close()
