"""A followed run in a Chromium browser, if one is installed."""

import re

import pytest
from chromium import quiet_pages, screenshot
from hostile_texts import HOSTILE, hostile
from playwright.sync_api import expect
from replies import Reply
from reporting import FOUR, analysis, finding, rollout, score, tool_calling
from viewing import followed, read_all, served, write, write_judgement

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=30_000)  # other processes use the processor too
MANY = 10_000
REPLIES = [Reply(call=("weather", "{}")), Reply(text="Sunny in Lisbon.")]


def found_in(sample, event=None, path="$.usage.total_tokens"):
    return finding(f"{sample}/chat/non-streaming/1", path=path, event=event)


SCORES = [
    *(score(f"s{number:02}", condition=FOUR[number % 4]) for number in range(60)),
    score("refusing", 1, "no_tool_call", detail="The model answered without calling a tool."),
    score("broken", 1, "invalid_response", findings=(found_in("broken"),)),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_judgement(folder, SCORES)
    write(folder, [rollout(each, REPLIES) for each in SCORES])
    with served(read_all(followed(folder))) as found:
        yield found


@pytest.fixture
def opened(browser, address):
    with quiet_pages(browser, address) as open_page:
        yield lambda query="", **options: open_page(address + query, **options)


@pytest.fixture
def page(opened):
    return opened()


def rows(page):
    return page.locator(".row:has(.sample)")


def viewer(page):
    return page.locator("#viewer")


def samples(page):
    return page.locator(".row .sample bdi").all_inner_texts()


def test_the_table_has_the_attempts_and_the_verdict(page):
    expect(page.get_by_text("FAIL", exact=True)).to_be_visible()
    expect(page.locator("#state")).to_have_text("62 attempts")
    first = rows(page).first
    for text in ("s00", "responses", "What is the weather", "Sunny in Lisbon.", "success"):
        expect(first).to_contain_text(text)
    screenshot(page, "view-viewer-light")


def test_filters_narrow_the_table_and_are_in_the_address(page):
    page.get_by_label("API").select_option("chat")
    page.get_by_label("mode").select_option("non-streaming")
    page.get_by_role("searchbox", name="Search").fill("SUNNY")
    expect(page.locator("output")).to_have_text("17 of 62 attempts")
    expect(page).to_have_url(re.compile(r"\?text=SUNNY&api=chat&mode=non-streaming$"))
    page.reload()
    expect(page.locator("output")).to_have_text("17 of 62 attempts")
    expect(page.get_by_label("API")).to_have_value("chat")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("output")).to_have_text("")
    page.get_by_label("finding").select_option("usage.sum")
    expect(rows(page)).to_have_count(1)
    page.get_by_label("finding").select_option("")
    page.get_by_label("outcome").select_option("no_tool_call")
    expect(rows(page).locator(".sample bdi")).to_have_text("refusing")
    page.get_by_label("Sample").fill("nothing like it")
    expect(rows(page)).to_have_count(0)


def test_an_attempt_has_an_address_and_back_closes_it(page):
    before = page.url
    rows(page).nth(2).click()
    expect(viewer(page)).to_be_visible()
    expect(viewer(page)).to_contain_text("Request 2")
    assert "try=s02" in page.url
    page.go_back()
    expect(viewer(page)).not_to_be_visible()
    assert page.url == before
    page.go_forward()
    expect(viewer(page).locator("h2")).to_contain_text("s02")
    page.reload()
    expect(viewer(page).locator("h2")).to_contain_text("s02")


def test_the_address_of_an_attempt_scrolls_the_table_to_it(opened):
    page = opened("?try=s58%2Fchat%2Fstreaming%2F1")
    expect(viewer(page).locator("h2")).to_contain_text("s58")
    expect(page.locator(".row.open .sample bdi")).to_have_text("s58")


def test_the_address_of_no_attempt_says_so(browser, address):
    page = browser.new_context().new_page()
    page.goto(f"{address}?try=gone")
    expect(viewer(page)).to_contain_text("The run has no such attempt.")
    page.context.close()


def test_keys_move_open_step_search_and_close(page):
    expect(rows(page).first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    expect(page.locator(".row.current .sample bdi")).to_have_text("s01")
    page.keyboard.press("Enter")
    expect(viewer(page).locator("h2")).to_contain_text("s01")
    page.keyboard.press("j")
    expect(viewer(page).locator("h2")).to_contain_text("s02")
    page.keyboard.press("Escape")
    expect(viewer(page)).not_to_be_visible()
    page.keyboard.press("End")
    expect(page.locator(".row.current .sample bdi")).to_have_text("broken")
    page.keyboard.press("Home")
    page.keyboard.press("n")
    expect(page.locator(".row.current .sample bdi")).to_have_text("broken")
    page.keyboard.press("/")
    page.keyboard.type("refusing")
    expect(page.locator(".row .sample bdi")).to_have_text(["refusing"])


def test_a_finding_stands_beside_the_line_that_it_is_about(page):
    page.get_by_label("Which attempts").select_option("findings")
    expect(rows(page)).to_have_count(1)
    rows(page).click()
    remark = viewer(page).locator(".remark")
    expect(remark).to_have_text(
        "usage.sum: The total is not the sum of prompt and completion tokens."
    )
    expect(viewer(page).locator("mark")).to_contain_text('"total_tokens"')
    viewer(page).get_by_role("button", name="Show").click()
    expect(remark).to_be_in_viewport()
    screenshot(page, "view-viewer-finding")


def test_a_request_is_copied_as_a_command(opened, address):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    rows(page).first.click()
    viewer(page).get_by_role("button", name="Copy as curl").first.click()
    expect(viewer(page).get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl http://test/v1/")


def test_attempts_appear_as_they_end_and_the_verdict_at_the_end(browser, tmp_path):
    write_judgement(tmp_path, SCORES, ended=False)
    write(tmp_path, [rollout(SCORES[0], REPLIES)])
    with served(followed(tmp_path)) as address, quiet_pages(browser, address) as open_page:
        page = open_page(address)
        expect(page.locator("#state")).to_contain_text("running · 1 of 35 attempts")
        write(tmp_path, [rollout(each, REPLIES) for each in SCORES[1:]])
        expect(page.locator("#state")).to_contain_text("62 attempts")
        page.keyboard.press("End")
        expect(page.locator(".row.current .sample bdi")).to_have_text("broken")
        write_judgement(tmp_path, SCORES)
        expect(page.get_by_text("FAIL", exact=True)).to_be_visible()
        expect(page.locator(".row.current .end")).to_have_text("invalid response")


@pytest.mark.parametrize("name", sorted(set(HOSTILE) - {"surrogate"}))
def test_recorded_text_does_not_execute_as_code(browser, tmp_path, name):
    scores, rollouts = hostile(HOSTILE[name])
    write_judgement(tmp_path, scores, analysis([tool_calling(scores, 5)], decision="fail"))
    write(tmp_path, rollouts)
    run = read_all(followed(tmp_path))
    with served(run) as address, quiet_pages(browser, address) as open_page:
        page = open_page(address)
        expect(rows(page)).to_have_count(len(scores))
        harmless = page.locator("main :is(img, svg, script, iframe, style, a)")
        for number in range(len(scores)):
            rows(page).nth(number).click()
            expect(viewer(page).locator("h2")).to_contain_text(f"try {number + 1}")
            for raw in viewer(page).locator("details.raw > summary").all():
                raw.click()
            expect(viewer(page).locator(".raw pre").first).to_be_attached()
            assert viewer(page).locator("img, svg, script, iframe, style, a").count() == 0
        assert harmless.count() == 0
        assert page.evaluate("window.hacked") is None
        assert page.url.startswith(address)
        shown = page.evaluate("document.body.innerText")
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", shown)


def test_the_rest_of_a_very_long_text_is_shown_on_request(browser, tmp_path):
    text = f"{'x' * 60_000}end"
    write_judgement(tmp_path, [score("long")])
    write(tmp_path, [rollout(score("long"), [Reply(text=text)])])
    run = read_all(followed(tmp_path))
    with served(run) as address, quiet_pages(browser, address) as open_page:
        page = open_page(address)
        rows(page).first.click()
        shown = viewer(page).locator(".item.final .text")
        expect(shown).not_to_contain_text("end")
        shown.get_by_role("button", name="Show 10,003 more characters").click()
        expect(shown).to_have_text(text)


def test_the_page_refuses_markup_even_from_its_own_script(browser, address):
    """The policy of the server, if a defect of ours once made markup of a text."""
    page = browser.new_context().new_page()  # its console says that it refused
    page.goto(address)
    markup = "document.body.innerHTML = '<b>x</b>'"
    assert page.evaluate(f"() => {{ try {{ {markup}; }} catch (e) {{ return e.name; }} }}")
    assert page.locator("main").count() == 1
    page.context.close()


def test_dark_mode_and_a_phone_need_no_sideways_scrolling(opened):
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark")
    expect(rows(page).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    screenshot(page, "view-viewer-phone")
    rows(page).nth(1).tap()
    expect(viewer(page)).to_contain_text("Request 1")
    assert viewer(page).evaluate("each => each.scrollWidth") <= 390
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"
    page.go_back()
    expect(viewer(page)).not_to_be_visible()


def test_ten_thousand_attempts_have_few_elements_and_every_row(browser, tmp_path):
    scores = [score(f"s{number}") for number in range(MANY)]
    write_judgement(tmp_path, scores, analysis([tool_calling(scores[:1])]))
    with served(followed(tmp_path)) as address, quiet_pages(browser, address) as open_page:
        page = open_page(address)
        expect(rows(page).first).to_be_visible()
        for at in (0.25, 0.5, 1):
            page.locator(".rows").evaluate(f"e => e.scrollTop = {at} * e.scrollHeight")
            expect(page.locator(".row:not(:has(.sample))")).to_have_count(0)
            assert page.locator(".row").count() < 60
        expect(rows(page).last.locator(".sample bdi")).to_have_text(f"s{MANY - 1}")
        page.get_by_label("Sample").fill("s4321")
        expect(page.locator("output")).to_have_text("1 of 10,000 attempts")


def test_the_end_of_the_view_is_said(browser, tmp_path):
    write_judgement(tmp_path, SCORES)
    with served(followed(tmp_path)) as address:
        page = browser.new_context().new_page()
        page.goto(address)
        expect(rows(page).first).to_be_visible()
    expect(page.locator("#state")).to_contain_text("The view has ended")
    page.context.close()
