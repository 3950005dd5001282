"""The page of a report in a Chromium browser, if one is installed."""

import pytest
from chromium import quiet_pages, screenshot
from hostile_texts import HOSTILE
from playwright.sync_api import expect
from replies import Reply
from reporting import (
    FOUR,
    TOOLS,
    analysis,
    failed_rule,
    finding,
    render,
    rollout,
    rule,
    score,
    tool_calling,
)

from harness.records.diagnosis import Cause, Diagnosis
from reports.build import build_report

SAMPLES = [f"sample-{number}" for number in range(6)]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def scored(sample, attempt, under):
    """Scores with failures under some conditions: no tool call, timeouts, invalid replies."""
    where = SAMPLES.index(sample), attempt, under.name
    if where in ((1, 2, "chat · streaming"), (2, 1, "responses · streaming")):
        return score(sample, attempt, "no_tool_call", condition=under, detail="No tool call.")
    if where == (3, 3, "chat · non-streaming"):
        return score(sample, attempt, "timeout", condition=under, detail="Timeout after 60 s.")
    if where == (4, 1, "chat · non-streaming"):
        place = f"{sample}/chat/non-streaming/{attempt}"
        return score(
            sample, attempt, "invalid_response", condition=under, findings=(finding(place),)
        )
    return score(sample, attempt, condition=under)


def replies(of):
    if of.sample == SAMPLES[0] and of.attempt == 1 and of.condition == FOUR[0]:
        text = "".join(HOSTILE[name] for name in ("closing", "handler", "svg", "template"))
        return [Reply(text=text)]
    if of.outcome == "no_tool_call":
        return [Reply(text="I am sorry, I cannot call tools.")]
    return [Reply(call=("weather", "{}")), Reply(text="All done.")]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    scores = [scored(each, n, under) for each in SAMPLES for n in (1, 2, 3) for under in FOUR]
    rollouts = [rollout(each, replies(each)) for each in scores]
    example = next(each.findings[0] for each in scores if each.findings)
    checks = [failed_rule("usage.sum", "failed", example), rule("usage.present"), rule("cot.raw")]
    results = [tool_calling(scores, 3, under) for under in FOUR]
    found = analysis(results, checks, "fail", ["1 invalid of 72 attempts, none allowed."])
    texts = {(TOOLS, sample): f"Prompt of {sample}" for sample in SAMPLES}
    path = tmp_path_factory.mktemp("page") / "report.html"
    report = build_report(found, "runs/mock", texts=texts)
    path.write_text(render(report, scores, rollouts), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, page_file):
    with quiet_pages(browser) as open_page:
        yield lambda **options: open_page(page_file.as_uri(), **options)


@pytest.fixture
def page(opened):
    return opened()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 800)])
def test_cause_and_fix_are_on_the_first_screen(browser, tmp_path, width, height):
    found = analysis(
        [tool_calling([score("a", 1)], 1)],
        [failed_rule("usage.sum", "failed", finding("a/chat/non-streaming/1"))],
        "fail",
        ["1 of 140 checks failed."] * 6,
    )
    cause = Cause(
        component="prompt",
        description="The server changes earlier turns (chat, streaming).",
        effect="The model forgets why it called a tool.",
        remedy="Render the CoT of the current turn, and drop it before a later final answer. " * 2,
        examples=(),
        explains=("usage.sum",),
    )
    diagnosis = Diagnosis(causes=(cause,), unexplained=())
    report = build_report(found.model_copy(update={"diagnosis": diagnosis}), "runs/mock")
    path = tmp_path / "report.html"
    path.write_text(render(report, [], []), encoding="utf-8")
    with quiet_pages(browser) as open_page:
        page = open_page(path.as_uri(), viewport={"width": width, "height": height})
        screenshot(page, f"report-fix-{width}")
        fix = page.locator(".fix").bounding_box()
        tiles = page.locator(".tiles").bounding_box()
        assert fix["y"] + fix["height"] < height
        assert tiles["y"] > fix["y"] or tiles["x"] > fix["x"] + fix["width"]


def test_the_verdict_is_on_the_first_screen(page):
    screenshot(page, "report-light")
    for text in ("FAIL", "Why", "What to do next"):
        box = page.locator("#verdict").get_by_text(text, exact=False).first.bounding_box()
        assert box["y"] + box["height"] < 900


def test_checks_are_grouped_by_family_and_searchable(page):
    shown = page.locator(".rule:visible")
    assert shown.count() == 0
    page.get_by_text("Chain of thought").click()
    assert shown.locator("code").all_inner_texts() == ["cot.raw"]
    page.get_by_role("search", name="Filter checks").get_by_role("searchbox").fill("usage.present")
    assert shown.locator("code").all_inner_texts() == ["usage.present"]


def test_a_check_with_findings_links_to_their_evidence(page):
    page.locator("details.check > summary").click()
    page.get_by_text("Token counts").click()
    page.locator("#checks").get_by_role("link", name="usage.sum").click()
    expect(page.locator("#findings .why")).to_be_visible()


def test_attempts_are_filtered_by_outcome_and_text(page):
    form = page.get_by_role("search", name="Filter samples")
    rows = page.locator(".map tbody tr:visible")
    assert rows.count() == 6
    form.get_by_role("searchbox").fill("cannot call tools")
    matching = page.locator("button.cell:not(.dim):visible")
    assert {cell.get_attribute("data-outcome") for cell in matching.all()} == {"no_tool_call"}
    form.get_by_role("searchbox").fill("")
    form.get_by_label("Outcome").select_option("no_tool_call")
    assert 0 < rows.count() < 6


def test_a_transcript_opens_by_keyboard_and_gives_the_focus_back(page):
    page.locator("button.cell[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    record = page.evaluate("document.activeElement.dataset.r")
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    expect(viewer).to_be_visible()
    expect(viewer.get_by_text("Request 1")).to_be_visible()
    screenshot(page, "viewer-light")
    title = page.locator("#viewer-title")
    first = title.inner_text()
    page.keyboard.press("ArrowRight")
    assert title.inner_text() != first
    page.keyboard.press("ArrowLeft")
    assert title.inner_text() == first
    page.keyboard.press("Escape")
    expect(viewer).not_to_be_visible()
    assert page.evaluate("document.activeElement.dataset.r") == record


def test_evidence_links_to_its_transcript_and_the_raw_exchange(page):
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


def test_recorded_text_does_not_execute_as_code(page):
    page.locator(f"button.cell[data-r='{SAMPLES[0]}/responses/streaming/1']").click()
    shown = page.locator(".item.final .text").first.inner_text()
    assert "<script>" in shown
    assert "{{ 7 * 7 }}" in shown
    assert page.evaluate("window.hacked") is None
    assert page.locator("dialog img, dialog svg, dialog script").count() == 0


def test_dark_mode_follows_the_system_until_the_reader_chooses(opened):
    background = "getComputedStyle(document.body).backgroundColor"
    light = opened(color_scheme="light").evaluate(background)
    page = opened(color_scheme="dark")
    assert page.evaluate(background) != light
    screenshot(page, "report-dark")
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(background) == light
    page.reload()
    assert page.evaluate(background) == light


def test_a_phone_needs_no_sideways_scrolling(opened):
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    screenshot(page, "report-phone")
    page.locator("button.cell.bad").first.tap()
    assert page.get_by_role("dialog").bounding_box()["width"] <= 390
    assert page.evaluate("document.getElementById('viewer').scrollWidth") <= 390
    screenshot(page, "viewer-phone")


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_the_key_figures_leave_no_hole(opened, width):
    tiles = opened(viewport={"width": width, "height": 844}).locator(".tiles")
    ends = "list => [...list.children].map(one => one.getBoundingClientRect().right)"
    edges = tiles.evaluate(ends)
    assert abs(edges[-1] - max(edges)) <= 1


def test_print_has_the_checks_and_not_the_controls(page):
    page.emulate_media(media="print")
    expect(page.locator(".top")).not_to_be_visible()
    expect(page.locator("#checks")).to_be_visible()


def test_everything_but_transcripts_is_shown_without_javascript(opened):
    page = opened(java_script_enabled=False)
    page.get_by_text("Chain of thought").click()
    expect(page.locator(".rule:visible")).to_have_count(1)
