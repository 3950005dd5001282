"""The pages of a comparison and a site in a Chromium browser, if one is installed."""

import json
from functools import partial

import pytest
from chromium import quiet_pages, screenshot
from compared_runs import judged_run, never_in
from hostile_texts import HOSTILE
from playwright.sync_api import expect

from harness.compare.columns import read_run
from harness.compare.compared import compare, labelled
from harness.compare.history import history_of
from harness.compare.site import site_of
from harness.run.run_folder import PAGE_FILE, read_analysis, read_scores
from harness.run.run_log import read_chosen
from reports.build import build_report
from reports.html.comparison_page import render_compare_html
from reports.html.report import render_html
from reports.html.site import render_site

PROVIDER = HOSTILE["handler"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    judged_run(folder / "good", provider="good", day=0)
    judged_run(folder / "bad", never_in("chat · non-streaming"), provider=PROVIDER, day=1)
    mixed = judged_run(folder / "mixed", miscounted=True, provider="good", day=2, rollouts=True)
    report = build_report(read_analysis(mixed), str(mixed))
    page = render_html(report, list(read_scores(mixed)), partial(read_chosen, mixed))
    (mixed / PAGE_FILE).write_text(page, encoding="utf-8")
    columns = labelled([read_run(folder / name) for name in ("good", "bad", "mixed")])
    found = compare(columns, 0, "0.1.0")
    (folder / "compare.html").write_text(render_compare_html(found, folder), encoding="utf-8")
    (folder / "compare.json").write_text(found.model_dump_json(), encoding="utf-8")
    analyses = [read_analysis(folder / name) for name in ("good", "bad", "mixed")]
    files = render_site(site_of(analyses, {}, "0.1.0"), history_of(folder, None))
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def opened(browser, folder):
    with quiet_pages(browser) as open_page:
        yield lambda name="compare", **options: open_page(
            (folder / f"{name}.html").as_uri(), **options
        )


def test_differences_come_first_and_the_rest_can_be_shown_and_searched(opened):
    page = opened()
    screenshot(page, "compare-light")
    rows = page.locator(".matrix tbody tr:not(.head):visible")
    before = rows.count()
    (worse,) = page.get_by_role("button", name="pass@1").all()[1:2]
    assert "▼" in worse.inner_text()
    page.get_by_label("only failures and differences").uncheck()
    assert rows.count() > before
    page.get_by_role("searchbox").fill("usage.sum")
    assert rows.count() == 1
    page.get_by_role("searchbox").fill("no such thing")
    expect(page.get_by_text("Nothing to show")).to_be_visible()


def test_a_cell_opens_its_evidence_and_gives_the_focus_back(opened):
    page = opened()
    page.locator("button.entry.failed:visible").first.click()
    viewer = page.get_by_role("dialog")
    expect(viewer.get_by_text("expected").first).to_be_visible()
    assert viewer.locator("dd a").first.get_attribute("href").startswith("mixed/report.html#try=")
    page.keyboard.press("Escape")
    expect(viewer).not_to_be_visible()
    link_target = page.locator("button.entry.failed:visible").first
    assert page.evaluate("document.activeElement.dataset.c") == link_target.get_attribute("data-c")


def test_the_evidence_of_a_cell_is_the_transcript_in_the_report_of_its_run(opened):
    page = opened()
    page.locator("button.entry.failed:visible").first.click()
    page.get_by_role("dialog").locator("dd a").first.click()
    page.wait_for_url("**/mixed/report.html#try=*")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_arrow_keys_move_in_the_matrix(opened):
    page = opened()
    first = page.locator("button.entry[tabindex='0']")
    assert first.count() == 1
    first.focus()
    start = page.evaluate("document.activeElement.dataset.c")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.c") != start
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.c") == start
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_the_first_column_and_the_head_stay_while_the_matrix_is_scrolled(opened):
    page = opened(viewport={"width": 600, "height": 700})
    page.get_by_label("only failures and differences").uncheck()
    frame = page.locator(".matrix-frame")
    head = page.locator(".matrix thead th").first
    before = head.bounding_box()
    frame.evaluate("each => each.scrollBy(200, 400)")
    assert head.bounding_box() == before


@pytest.mark.parametrize("name", ["compare", "index"])
def test_a_phone_needs_no_sideways_scrolling(name, opened):
    page = opened(name, viewport={"width": 390, "height": 844}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    screenshot(page, f"{name}-phone")


@pytest.mark.parametrize("name", ["compare", "index"])
def test_dark_mode_follows_the_system_until_the_reader_chooses(name, opened):
    background = "getComputedStyle(document.body).backgroundColor"
    light = opened(name, color_scheme="light").evaluate(background)
    page = opened(name, color_scheme="dark")
    assert page.evaluate(background) != light
    screenshot(page, f"{name}-dark")
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(background) == light


def test_names_do_not_execute_as_code(opened):
    for name in ("compare", "index"):
        page = opened(name)
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, main script").count() == 0


def test_every_measure_is_shown_without_javascript(opened, folder):
    page = opened(java_script_enabled=False)
    rows = json.loads((folder / "compare.json").read_text())["rows"]
    assert page.locator(".matrix tbody tr:not(.head):visible").count() == len(rows) > 20


def test_a_site_has_the_latest_run_of_each_provider(opened):
    page = opened("index", viewport={"width": 1280, "height": 800})
    screenshot(page, "index-light")
    table = page.get_by_role("region", name="Latest runs")
    assert table.evaluate("element => element.scrollWidth <= element.clientWidth")
    rows = page.get_by_role("region", name="Latest runs").locator("tbody tr")
    assert rows.count() == 2
    good = rows.filter(has_text="good")
    assert "1 of" in good.inner_text()
    assert (
        good.get_by_role("link", name="records").get_attribute("href") == "mixed/rollouts.jsonl.gz"
    )
    page.get_by_role("link", name="How providers are verified").click()
    page.wait_for_url("**/methodology.html")
    page.get_by_role("link", name="The table of providers").click()
    page.wait_for_url("**/index.html")


def test_a_site_plots_every_run_with_a_link_to_its_report(opened):
    page = opened("index")
    section = page.locator("main section").filter(has_text="good: 2 runs")
    assert section.locator("svg").count() == 2
    assert section.locator("svg").first.locator("circle").count() == 2
    section.get_by_role("link").first.click()
    page.wait_for_url("**/mixed/report.html")
