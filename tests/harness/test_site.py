"""A site: its table, the pages and records of its runs, and badges."""

import json
import re
from xml.etree import ElementTree

import pytest
from compared_runs import judged_run, never_in
from healthy import SUITE
from jsonschema import Draft202012Validator
from recorded_runs import problem_rollouts, write_finished_run
from reporting import analysis, condition, eval_result, score

from gpt_oss_verify.app import run
from harness.compare.history import history
from harness.compare.key_figures import result_summary
from harness.compare.site import site_of
from harness.providers.entries import Prices
from harness.records.runs import TaskInfo
from harness.records.settings import Thresholds
from harness.run.run_folder import read_analysis, write_analysis
from reports import schemas
from reports.html.site import badge, render_site


@pytest.fixture(scope="module")
def analyses(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    never = never_in("chat · streaming")
    made = [
        judged_run(folder / "a-1", never, provider="alpha", day=0, tries=2),
        judged_run(folder / "a-2", provider="alpha", day=1, tries=2),
        judged_run(folder / "b-1", never, provider="b<b", day=2, tries=2),
    ]
    return [read_analysis(each) for each in made]


def files_of(analyses):
    over_time = history("site", [(each.run_id, each) for each in analyses])
    return render_site(site_of(analyses, {}, "1.0"), over_time)


def test_the_table_has_the_latest_run_of_each_provider_passing_runs_first(analyses):
    site = site_of(analyses, {"alpha": Prices(input=0.1, output=0.5)}, "1.0")
    assert site.latest == ("a-2", "b-1")
    runs = {each.run: each for each in site.runs}
    summaries = {name: each.summary for name, each in runs.items()}
    assert summaries["b-1"].decision == "fail"
    calls = summaries["b-1"].tool_calls
    assert (calls.passed, calls.total, calls.rate.value) == (24, 32, 0.75)
    assert (summaries["a-2"].tool_calls.rate.value, runs["a-2"].price.output) == (1.0, 0.5)
    assert runs["b-1"].price is None


@pytest.mark.parametrize(
    ("status", "tone"), [("passed", ""), ("warned", " poor"), ("failed", " bad")]
)
def test_a_warning_is_not_shown_as_a_failure(analyses, status, tone):
    (whole,) = (each for each in analyses if each.run_id == "a-2")
    checks = list(whole.checks)
    place = next(at for at, each in enumerate(checks) if each.status == "passed")
    checks[place] = checks[place].model_copy(update={"status": status})
    page = files_of([whole.model_copy(update={"checks": tuple(checks)})])["index.html"]
    assert f'<td class="number{tone or " "}" data-head="checks passed">' in page


def test_a_partial_run_does_not_replace_a_complete_one_of_the_suite(analyses):
    whole, later, other = analyses
    probes = TaskInfo(name="cot", kind="probes", conditions=(), samples=1, tries=1, planned=1)
    run = whole.run.model_copy(update={"tasks": (*whole.run.tasks, probes)})
    whole = whole.model_copy(update={"run": run})
    settings = later.run.settings.model_copy(update={"only": ("cot",), "first_cases": 4})
    later = later.model_copy(update={"run": later.run.model_copy(update={"settings": settings})})
    site = site_of([whole, later, other], {}, "1.0")
    assert site.latest == ("a-1", "b-1")
    assert {run.run: run.partial for run in site.runs} == {
        "a-1": None,
        "a-2": "only cot; 4 cases",
        "b-1": "only tool calls",
    }
    page = files_of([whole, later, other])["index.html"]
    assert "partial: only tool calls" in page
    assert "partial: only cot" not in page


def test_a_smaller_partial_run_does_not_hide_a_failure(analyses):
    failed, passed, _ = analyses
    smaller = passed.model_copy(update={"results": passed.results[:1]})
    assert site_of([failed, smaller], {}, "1.0").latest == ("a-1",)
    assert site_of([failed, passed], {}, "1.0").latest == ("a-2",)


def test_the_json_follows_the_schema_and_pages_contain_no_foreign_markup(analyses):
    files = files_of(analyses)
    Draft202012Validator(schemas.schema("site")).validate(json.loads(files["index.json"]))
    assert "b&lt;b" in files["index.html"]
    assert "<b<b" not in files["index.html"]
    assert 'href="b-1/report.html"' in files["index.html"]
    assert "alpha: 2 runs" in files["index.html"]
    assert "b<b: 1 run" not in files["index.html"]


def test_the_order_of_the_arguments_changes_nothing(analyses):
    assert files_of(analyses) == files_of(analyses[::-1])


def test_a_summary_is_one_line_and_one_value(analyses):
    found = result_summary(analyses[1])
    assert found.line == (
        "gpt-oss-mock on alpha: PASS; passed 2 of 2 checks, 32 of 32 tool calls (100.0%, 89–100); "
        "gpt-oss-verify 0.1.0, 2026-11-02: gpt-oss-verify --provider alpha"
    )
    assert (found.checks.passed, found.checks.total, found.probes.total) == (2, 2, 0)
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_a_summary_has_the_scores_with_their_baselines():
    low = condition(effort="low")
    answers = [score(each, 1, "correct", task="gpqa", condition=low) for each in ("q1", "q2")]
    found = result_summary(analysis([eval_result(answers, "pass")]))
    assert "; gpqa, low effort 100.0%, " in found.line
    (one,) = found.evals
    assert f"(baseline {one.baseline:.1%}" in found.line
    assert (one.decision, found.tool_calls) == ("pass", None)


@pytest.mark.parametrize("decision", ["pass", "fail", "inconclusive", None])
def test_a_badge_is_readable_svg_with_the_figures_of_the_summary(decision, analyses):
    found = result_summary(analyses[0]).model_copy(update={"decision": decision})
    root = ElementTree.fromstring(badge(found))
    assert root.find("{*}title").text == root.get("aria-label") == found.line
    label, shown = root.findall("{*}text")
    assert label.text == "gpt-oss"
    assert re.fullmatch(r"[A-Z]+ · tool calls 75.0% · 2026-11-01", shown.text)
    assert float(shown.get("x")) + float(shown.get("textLength")) < float(root.get("width"))
    assert contrast_with_white(root.findall("{*}rect")[1].get("fill")) >= 4.5


def test_recorded_traffic_has_findings_and_no_score_in_its_summary_and_badge(analyses):
    run = analyses[0].run
    settings = run.settings.model_copy(update={"findings_only": True})
    changes = {"run": run.model_copy(update={"settings": settings})}
    verdict = analyses[0].verdict.model_copy(update={"decision": None})
    found = result_summary(analyses[0].model_copy(update={**changes, "verdict": verdict}))
    assert ": NO FINDINGS; " in found.line
    assert ">NO FINDINGS · " in badge(found)
    assert ">FINDINGS · " in badge(found.model_copy(update={"found": True}))


def contrast_with_white(colour):
    """The contrast ratio of WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 1.05 / (sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05)


def test_the_command_publishes_the_records_and_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_API_KEY", "correct horse")
    place = tmp_path / "runs" / "mock-1"
    write_finished_run(
        place,
        problem_rollouts(SUITE.first(1), tries=2),
        SUITE.first(1),
        first_cases=1,
        thresholds=Thresholds(rule="guide"),
    )
    run(["recheck", str(place)])
    capsys.readouterr()
    assert run(["site", "runs", "--out", "site"]) == 0
    assert capsys.readouterr().out.strip() == "site/index.html"
    folder = tmp_path / "site" / "mock-1"
    assert {path.name for path in folder.iterdir()} == {
        *("analysis.json", "badge.svg", "cases.jsonl", "junit.xml", "report.html", "report.md"),
        *("rollouts.jsonl.gz", "run.json", "scores.jsonl.gz", "tools.json"),
    }
    assert run(["recheck", str(folder)]) == run(["recheck", str(place)])
    (folder / "scores.jsonl").unlink()
    capsys.readouterr()
    assert str(tmp_path) not in (folder / "report.html").read_text()
    assert run(["site", "site/mock-1", "runs", "--out", "other"]) == 2
    assert "has the name of another run" in capsys.readouterr().err
    assert run(["site", "site/mock-1", "--out", "again"]) == 0
    for path in sorted((tmp_path / "site").rglob("*.*")):
        again = tmp_path / "again" / path.relative_to(tmp_path / "site")
        if path.name != "report.md":  # It names the folder in which the run was judged.
            assert again.read_bytes() == path.read_bytes()


def test_a_folder_of_a_failed_start_does_not_stop_a_site(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "runs" / "mock-1"
    write_finished_run(place, problem_rollouts(SUITE.first(1), tries=2), SUITE.first(1))
    run(["recheck", str(place)])
    failed = tmp_path / "runs" / "mock-0"
    failed.mkdir()
    (failed / "run.json").write_bytes((place / "run.json").read_bytes())
    assert run(["site", "runs", "--out", "site"]) == 0
    assert "runs/mock-0 has no results" in capsys.readouterr().err
    assert not (tmp_path / "site" / "mock-0").exists()
    write_analysis(failed, read_analysis(place).model_copy(update={"results": ()}))
    assert run(["site", "runs/mock-0", "--out", "site"]) == 2
    assert "no finished attempt" in capsys.readouterr().err


def test_a_damaged_record_of_a_published_run_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "runs" / "mock-1"
    write_finished_run(place, problem_rollouts(SUITE.first(1), tries=2), SUITE.first(1))
    run(["recheck", str(place)])
    run(["site", "runs", "--out", "site"])
    packed = tmp_path / "site" / "mock-1" / "rollouts.jsonl.gz"
    packed.write_bytes(packed.read_bytes()[:-200])
    capsys.readouterr()
    assert run(["recheck", "site/mock-1"]) == 2
    said = "rollouts.jsonl cannot be read: the compressed data is damaged."
    assert said in capsys.readouterr().err


def test_a_site_without_runs_is_rejected_in_one_sentence(capsys):
    assert run(["site", "--out", "site"]) == 2
    assert "Name at least one run" in capsys.readouterr().err
