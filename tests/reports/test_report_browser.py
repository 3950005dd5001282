"""The page in a real browser: whatever Chromium is found on this machine."""

import pytest
from analyses import analysis_of, run_info
from chromium import chromium, quiet_pages, shot
from healthy import SUITE, Say, rollout
from nasty import NASTY
from playwright.sync_api import expect
from recorded_runs import troubled

from reports.html.smoke import render_html

SMALL = SUITE.first(6)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    rollouts = list(troubled(SMALL, tries=3, seed=5))
    nasty = Say(text="".join(NASTY[name] for name in ("closing", "handler", "svg", "template")))
    rollouts[0] = rollout(
        [nasty], api="responses", streaming=True, sample=SMALL.cases[0].id, attempt=1
    )
    judged = []
    analysis = analysis_of(rollouts, run_info(tries=3), suite=SMALL, keep=judged.extend)
    path = tmp_path_factory.mktemp("page") / "report.html"
    hints = {case.id: case.prompt for case in SMALL.cases}
    path.write_text(render_html(analysis, judged, rollouts, hints), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, page_file):
    with quiet_pages(browser) as open_page:
        yield lambda **options: open_page(page_file.as_uri(), **options)


def test_the_verdict_is_on_the_first_screen(opened):
    page = opened()
    shot(page, "report-light")
    for text in ("FAIL", "Why", "What to do next"):
        box = page.locator("#verdict").get_by_text(text, exact=False).first.bounding_box()
        assert box["y"] + box["height"] < 900


def test_checks_are_filtered_and_searched(opened):
    page = opened()
    shown = page.locator("details.check:visible")
    before = shown.count()
    assert page.locator("details.check.passed:visible").count() == 0
    page.get_by_label("✓ passed").check()
    assert shown.count() > before
    page.get_by_role("search", name="Filter checks").get_by_role("searchbox").fill("usage.sum")
    assert page.locator("details.check:visible code").first.inner_text() == "usage.sum"
    assert shown.count() == 1


def test_tries_are_filtered_by_outcome_and_by_what_was_said(opened):
    page = opened()
    form = page.get_by_role("search", name="Filter cases")
    rows = page.locator(".map tbody tr:visible")
    assert rows.count() == 6
    form.get_by_role("searchbox").fill("cannot call tools")
    matching = page.locator("button.cell:not(.dim):visible")
    kinds = {cell.get_attribute("data-kind") for cell in matching.all()}
    assert kinds == {"no_tool_call"}
    form.get_by_role("searchbox").fill("")
    form.get_by_label("Outcome").select_option("no_tool_call")
    assert 0 < rows.count() < 6


def test_a_transcript_opens_by_keyboard_and_gives_the_focus_back(opened):
    page = opened()
    page.locator("button.cell[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    record = page.evaluate("document.activeElement.dataset.r")
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    expect(viewer).to_be_visible()
    expect(viewer.get_by_text("Request 1")).to_be_visible()
    shot(page, "viewer-light")
    title = page.locator("#viewer-title")
    first = title.inner_text()
    page.keyboard.press("ArrowRight")
    assert title.inner_text() != first
    page.keyboard.press("ArrowLeft")
    assert title.inner_text() == first
    page.keyboard.press("Escape")
    expect(viewer).not_to_be_visible()
    assert page.evaluate("document.activeElement.dataset.r") == record


def test_evidence_leads_to_its_transcript_and_the_raw_exchange(opened):
    page = opened()
    page.locator("details.worst summary").first.click()
    link = page.locator("details.worst a[data-r]:visible").first
    record = link.inner_text()
    link.click()
    viewer = page.get_by_role("dialog")
    assert record.split("/")[0] in viewer.locator("h2").inner_text()
    viewer.get_by_text("Raw exchange").first.click()
    expect(viewer.get_by_text("Request: POST").first).to_be_visible()
    page.reload()
    expect(viewer, "the address of a transcript opens it").to_be_visible()


def test_what_a_model_said_runs_nothing(opened):
    page = opened()
    page.locator(f"button.cell[data-r='{SMALL.cases[0].id}/responses/streaming/1']").click()
    said = page.locator(".turn.final .said").first.inner_text()
    assert "<script>" in said
    assert "{{ 7 * 7 }}" in said
    assert page.evaluate("window.hacked") is None
    assert page.locator("dialog img, dialog svg, dialog script").count() == 0


def test_dark_is_the_systems_choice_until_the_reader_chooses(opened):
    background = "getComputedStyle(document.body).backgroundColor"
    light = opened(color_scheme="light").evaluate(background)
    page = opened(color_scheme="dark")
    dark = page.evaluate(background)
    assert dark != light
    shot(page, "report-dark")
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(background) == light
    page.reload()
    assert page.evaluate(background) == light


def test_a_phone_needs_no_sideways_scrolling(opened):
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True)
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == 390
    shot(page, "report-phone")
    page.locator("button.cell.bad").first.tap()
    assert page.get_by_role("dialog").bounding_box()["width"] <= 390
    assert page.evaluate("document.getElementById('viewer').scrollWidth") <= 390
    shot(page, "viewer-phone")


def test_print_has_the_checks_and_not_the_controls(opened):
    page = opened()
    page.emulate_media(media="print")
    expect(page.locator(".top")).not_to_be_visible()
    expect(page.locator("#checks")).to_be_visible()


def test_without_javascript_everything_but_transcripts_is_there(opened):
    page = opened(java_script_enabled=False)
    expect(page.locator("details.check.passed").first).to_be_visible()
