"""Comparisons of runs: rows, differences, changes, the previous run, history."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest
import reporting
from compared_runs import QUESTIONS, SMALL, TINY, judged_run, never_in

from harness.compare.columns import TRIES, Column, Published, read_run
from harness.compare.compared import compare, labelled
from harness.compare.comparison_types import ComparedEntry
from harness.compare.history import gaps, history_of
from harness.compare.previous_run import previous_run, since_previous
from harness.errors import HarnessError
from harness.records.analysis import RuleResult
from harness.records.runs import RetestInfo
from harness.run.cases import Suite
from harness.run.run_folder import (
    Unanswered,
    note_unanswered,
    read_analysis,
    unanswered,
    write_analysis,
)
from harness.run.run_log import read_run_info, write_run_info
from harness.statistics.intervals import clustered_rate
from harness.statistics.mean_scores import Mean
from reports.history import remarks, series

GROUPS = (
    "responses · streaming",
    "responses · non-streaming",
    "chat · streaming",
    "chat · non-streaming",
)
BROKEN = "chat · non-streaming"
LITTLE = {"suite": TINY, "tries": 1}


def mixed(sample, _condition, number):
    return (len(sample) + number) % 3 > 0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a good run, one that fails in one condition, and one with many failures."""
    folder = tmp_path_factory.mktemp("runs")
    judged_run(folder / "good", provider="good", day=1)
    judged_run(folder / "bad", never_in(BROKEN), provider="bad", day=2)
    judged_run(folder / "mixed", mixed, provider="mixed", day=3)
    return folder


def compared(*folders, against=0):
    return compare(labelled([read_run(folder) for folder in folders]), against, "0.1.0")


def rows(comparison, name):
    return {row.group: row for row in comparison.rows if row.name == name}


def seen(row, index=1):
    return row.differences[index].seen


# --- Tool calling and checks


def test_a_run_compared_with_a_copy_of_itself_differs_in_nothing(made, tmp_path):
    shutil.copytree(made / "mixed", tmp_path / "copy")
    found = compared(made / "mixed", tmp_path / "copy")
    assert found.tested > 0
    assert not any(row.differs for row in found.rows)
    assert found.changes[0].unchanged
    assert not found.worse
    assert {each.value for row in found.rows for each in row.differences if each} == {0.0}


def test_only_the_worse_condition_is_reported_as_worse(made):
    found = compared(made / "good", made / "bad")
    first = rows(found, "pass@1")
    assert {group: seen(row) for group, row in first.items()} == {
        group: "worse" if group == BROKEN else "none" for group in GROUPS
    }
    difference = first[BROKEN].differences[1]
    assert (difference.value, difference.pairs) == (-1.0, len(SMALL.cases))
    assert first[BROKEN].cells[1].value == 0.0
    (verdict,) = rows(found, "verdict").values()
    assert [cell.decision for cell in verdict.cells] == ["pass", "fail"]
    assert verdict.differs


def test_swapping_the_sides_reverses_the_result(made):
    one = rows(compared(made / "good", made / "bad"), "pass@1")[BROKEN]
    other = rows(compared(made / "good", made / "bad", against=1), "pass@1")[BROKEN]
    assert other.differences[1] is None
    assert (seen(one, 1), seen(other, 0)) == ("worse", "better")
    assert other.differences[0].low == pytest.approx(-one.differences[1].high)


def test_changed_cases_are_named(made):
    (found,) = compared(made / "good", made / "bad").changes
    assert {case.sample for case in found.cases} == {case.id for case in SMALL.cases}
    assert {(case.group, case.here, case.there) for case in found.cases} == {
        (BROKEN, (0, 5), (5, 5))
    }
    assert not any(case.better for case in found.cases)


def test_a_check_that_fails_in_one_run_differs_and_has_its_evidence(tmp_path):
    judged_run(tmp_path / "one", provider="one")
    judged_run(tmp_path / "two", miscounted=True, provider="two")
    found = compared(tmp_path / "one", tmp_path / "two")
    (row,) = rows(found, "usage.sum").values()
    assert row.differs
    assert [cell.status for cell in row.cells] == ["passed", "failed"]
    assert (row.cells[1].hits, row.cells[1].examples[0].id) == (20, row.name)
    assert row.differences[1].seen == "worse"
    assert row.differences[1].pairs is None
    invalid = rows(found, "invalid response")
    assert [cell.hits for cell in invalid[BROKEN].cells] == [0, 20]
    assert [cell.total for cell in invalid[BROKEN].cells] == [20, 20]


def judging(name, **counts):
    """A column with one check that fails `counts` times under each API or condition."""
    shares = {key.replace("_", " · "): count for key, count in counts.items()}
    failed, every = map(sum, zip(*shares.values(), strict=True))
    result = RuleResult(
        check=reporting.failed_rule("tools.loop", "failed").check,
        status="failed" if failed else "passed",
        applicable=every,
        failures=failed,
        rate=clustered_rate([(1, 1)] * failed + [(0, 1)] * (every - failed)),
        counts=shares,
    )
    entry = ComparedEntry(label=name, kind="run", provider=name, model="m")
    return Column(entry, checks={"tools.loop": result})


GOOD = judging("good", chat=(0, 6), responses=(0, 6))
BAD = judging("bad", chat=(6, 6), responses=(0, 6))


def test_a_check_is_compared_by_api_where_its_failures_depend_on_it():
    found = columns(GOOD, BAD)
    parts = {row.group: row for row in found.rows}
    assert [(c.status, c.hits, c.total) for c in parts["chat"].cells] == [
        ("passed", 0, 6),
        ("failed", 6, 6),
    ]
    assert parts["responses"].cells[1].status == "passed"
    assert (seen(parts["chat"]), parts["responses"].differences[1]) == ("worse", None)
    (change,) = found.changes[0].broken
    assert (change.here, change.there) == (
        {"chat": (6, 6), "responses": (0, 6)},
        {"chat": (0, 6), "responses": (0, 6)},
    )
    assert change.beyond_chance
    assert columns(BAD, GOOD).changes[0].fixed[0].beyond_chance


def test_all_failures_in_one_api_are_not_called_chance():
    clustered = BAD.checks["tools.loop"].model_copy(update={"rate": clustered_rate([(6, 12)])})
    found = columns(GOOD, replace(BAD, checks={"tools.loop": clustered}))
    assert [change.beyond_chance for change in found.changes[0].broken] == [True]  # p = 0.002
    assert found.worse


def test_a_baseline_that_is_worse_than_a_run_is_no_failure():
    as_baseline = replace(BAD, entry=BAD.entry.model_copy(update={"kind": "baseline"}))
    assert not columns(GOOD, as_baseline).worse
    assert columns(GOOD, BAD).worse


def test_failures_that_moved_to_the_other_api_differ():
    one = judging("one", chat=(0, 12), responses=(12, 12))
    other = judging("other", chat=(12, 12), responses=(0, 12))
    assert {seen(row) for row in columns(one, other).rows} == {"worse", "better"}


def test_a_few_failures_in_every_part_may_be_chance_in_each_but_not_on_average():
    good = judging("good", chat=(0, 40), responses=(0, 40))
    many = judging("many", chat=(3, 40), responses=(5, 40))
    few = judging("few", chat=(0, 40), responses=(2, 40))
    assert columns(good, many).changes[0].broken[0].beyond_chance
    (change,) = columns(good, few).changes[0].broken
    assert change.here == {"responses": (2, 40), "chat": (0, 40)}
    assert not change.beyond_chance


def test_different_numbers_of_tries_are_compared_and_reported(made, tmp_path):
    judged_run(tmp_path / "few", never_in(BROKEN), tries=3)
    found = compared(made / "good", tmp_path / "few")
    assert [(change.what, change.here, change.there) for change in found.entries[1].differs] == [
        ("tries", "3", "5")
    ]
    assert set(rows(found, "pass@3")) == set(GROUPS)
    assert not rows(found, "pass@5")
    assert seen(rows(found, "pass@1")[BROKEN]) == "worse"


def test_only_cases_with_the_same_content_are_paired(made, tmp_path):
    changed = tuple(
        case if number < 2 else type(case)(**{**vars(case), "prompt": f"{case.prompt}!"})
        for number, case in enumerate(SMALL.cases)
    )
    suite = Suite(changed, SMALL.tools, (), SMALL.cases_file, SMALL.tools_file)
    judged_run(tmp_path / "other", suite=suite)
    found = compared(made / "good", tmp_path / "other")
    assert {row.differences[1].pairs for row in rows(found, "pass@1").values()} == {2}
    assert found.entries[1].notes == (
        "tool_calling: only samples with the same content are paired, 2 of the 4 here and 4 in "
        "good.",
    )


def test_without_a_common_case_nothing_is_tested(made, tmp_path):
    suite = Suite(SMALL.cases[:1], SMALL.tools, (), SMALL.cases_file, SMALL.tools_file)
    only = type(SMALL.cases[0])(**{**vars(SMALL.cases[0]), "id": "new"})
    judged_run(tmp_path / "other", suite=Suite((only,), *list(vars(suite).values())[1:]))
    found = compared(made / "good", tmp_path / "other")
    assert found.tested == 0
    assert "tool_calling" in found.entries[1].notes[0]
    assert all(row.cells[1] is not None for row in rows(found, "pass@1").values())


def test_conditions_that_only_one_run_has_are_left_out_and_named(made, tmp_path):
    judged_run(tmp_path / "chat", apis=("chat",))
    found = compared(made / "good", tmp_path / "chat")
    first = rows(found, "pass@1")
    assert first["responses · streaming"].cells[1] is None
    assert first["responses · streaming"].differences == (None, None)
    assert first[BROKEN].differences[1] is not None
    assert found.entries[1].notes == (
        "Only one of the two has responses · streaming; responses · non-streaming.",
    )


def test_an_unfinished_run_is_compared_by_the_attempts_made(made, tmp_path):
    judged_run(tmp_path / "cut", made=40, finished=False)
    found = compared(made / "good", tmp_path / "cut")
    assert "--resume" in found.entries[1].notes[0]
    assert {seen(row) for row in rows(found, "pass@1").values()} == {"none"}
    assert rows(found, "pass@1")[BROKEN].cells[1].value == 0.5
    assert rows(found, "not run")[BROKEN].cells[1].hits == 10


def test_times_are_medians_with_intervals_and_not_tested(made):
    found = compared(made / "good", made / "bad")
    request = rows(found, "request")[BROKEN]
    assert (request.cells[0].value, request.cells[0].low, request.cells[0].total) == (1.3, 1.2, 20)
    assert request.differences == (None, None)
    assert set(rows(found, "first token")) == {"responses · streaming", "chat · streaming"}


def test_equal_names_are_distinguished_by_the_folder_and_then_by_its_path(made, tmp_path):
    judged_run(tmp_path / "a", provider="good", day=2)
    shutil.copytree(tmp_path / "a", tmp_path / "else" / "a")
    columns = [made / "good", made / "bad", tmp_path / "a", tmp_path / "else" / "a"]
    labels = [column.entry.label for column in labelled([read_run(path) for path in columns])]
    assert labels == ["good", "bad", str(tmp_path / "a"), str(tmp_path / "else" / "a")]


@pytest.mark.parametrize(
    ("provider", "label"),
    [
        ("groq", "groq"),
        ("engine-1.0", "engine-1.0"),
        ("gpt-4.1-2025", "gpt-4.1-2025"),
        ("127.0.0.1-8000", "before"),
        ("localhost:8000", "before"),
        ("api.example.com-8443", "before"),
        ("api.example.com", "api.example.com"),
    ],
)
def test_a_provider_without_a_name_has_that_of_the_folder(made, provider, label):
    first, second = (read_run(made / name) for name in ("good", "bad"))
    entry = first.entry.model_copy(update={"provider": provider, "place": "runs/before"})
    columns = labelled([replace(first, entry=entry), second])
    assert [column.entry.label for column in columns] == [label, "bad"]


def test_a_provider_with_two_models_has_their_names(made):
    first, second = (read_run(made / name) for name in ("good", "bad"))
    entries = [
        first.entry.model_copy(update={"provider": "groq", "model": model})
        for model in ("gpt-oss-20b", "gpt-oss-120b")
    ]
    columns = labelled([replace(e, entry=n) for e, n in zip((first, second), entries, strict=True)])
    assert [column.entry.label for column in columns] == ["groq gpt-oss-20b", "groq gpt-oss-120b"]


def with_version(path, version):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "run.json").unlink(), "is not a run folder"),
        (lambda folder: (folder / "analysis.json").unlink(), "recheck"),
        (lambda folder: (folder / "scores.jsonl").unlink(), "scores.jsonl"),
        (lambda folder: (folder / "analysis.json").write_text("{}"), "another version"),
        (lambda folder: with_version(folder / "analysis.json", 4), "another version"),
        (lambda folder: (folder / "scores.jsonl").write_text("{}\n"), "another version"),
        (lambda folder: (folder / "run.json").write_text('{"kind": "trial"}'), "damaged"),
    ],
)
def test_a_folder_that_cannot_be_compared_is_reported_in_one_sentence(
    break_it, message, made, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(made / "good", folder)
    break_it(folder)
    with pytest.raises(HarnessError, match=message) as error:
        read_run(folder)
    assert "\n" not in str(error.value)


# --- Evals and baselines


def eval_column(name, chances, *, questions=30, data="0", task="aime25", sample_data=False):
    """A baseline: question i is right in the first `chances[i]` of every 8 tries."""
    rows = [
        {
            "task": task,
            "group": "aime25, gpt-oss-20b, high effort",
            "sample": f"q{i}",
            "content": data,
            "sample_data": sample_data,
            "value": float(t % 8 < chances[i % len(chances)]),
        }
        for i in range(questions)
        for t in range(8)
    ]
    entry = ComparedEntry(label=name, kind="baseline", provider=name, model="gpt-oss-20b")
    return Column(entry, pd.DataFrame(rows, columns=list(TRIES)))


def published():
    mean = Mean(value=0.917, error=0.02, tries=8, trials=240, freedom=float("inf"))
    entry = ComparedEntry(label="card", kind="published", provider="card", model="")
    key = "aime25", "aime25, gpt-oss-20b, high effort"
    return Column(entry, published={key: Published(mean, questions=30)})


def columns(*found, against=0):
    return compare(labelled(found), against, "0.1.0")


def score_row(found):
    (row,) = (row for row in found.rows if row.section == "Scores")
    return row


def test_baselines_are_paired_by_question():
    found = columns(eval_column("good", [8, 8, 7]), eval_column("bad", [2, 8, 7]))
    row = score_row(found)
    assert (row.name, row.differences[1].seen) == ("aime25, gpt-oss-20b, high effort", "worse")
    assert row.differences[1].pairs == 30
    (changed,) = found.changes
    assert {case.here for case in changed.cases} == {(2, 8)}
    assert len(changed.cases) == 10


def test_scores_are_compared_on_the_common_questions():
    everything = eval_column("all", [8, 8, 7])
    half = eval_column("half", [8, 8, 7], questions=12)
    for pair in ((everything, half), (half, everything)):
        difference = score_row(columns(*pair)).differences[1]
        assert (difference.pairs, difference.value, difference.seen) == (12, 0.0, "none")


def test_different_questions_are_not_compared():
    found = columns(eval_column("ours", [8]), eval_column("theirs", [8], data="1"))
    assert score_row(found).differences == (None, None)
    assert found.entries[1].notes == (
        "aime25 is not compared: the cases or data differ from those of ours.",
    )


def test_the_score_of_a_baseline_is_that_of_the_tries_made():
    cut = eval_column("cut", [8])
    cut.tries.loc[cut.tries["sample"] != "q0", "value"] = None
    row = score_row(columns(cut, eval_column("all", [8])))
    assert [(cell.value, cell.total) for cell in row.cells] == [(1.0, 8), (1.0, 240)]


@pytest.mark.parametrize("against", [0, 1])
def test_a_run_is_compared_with_published_figures(against):
    row = score_row(columns(eval_column("bad", [2]), published(), against=against))
    assert row.cells[1].value == pytest.approx(0.917)
    assert seen(row, 1 - against) == ("better" if against == 0 else "worse")


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (eval_column("run", [2], questions=3), "3 of 30 questions"),
        (eval_column("run", [2], sample_data=True), "sample questions"),
        (eval_column("run", [2], task="gpqa"), "card has no figure for it"),
        (eval_column("run", [2], task="gpqa", sample_data=True), "sample questions"),
    ],
)
def test_published_figures_are_compared_only_with_all_questions(run, reason):
    found = columns(run, published())
    assert found.tested == 0
    assert reason in found.entries[1].notes[0]


def test_a_run_of_several_tasks_is_compared_in_all_of_them(tmp_path):
    judged_run(tmp_path / "a", provider="a", evals=lambda *_: True)
    judged_run(
        tmp_path / "b", never_in(BROKEN), provider="b", evals=lambda sample, *_: sample > "q4"
    )
    found = compared(tmp_path / "a", tmp_path / "b")
    assert seen(rows(found, "pass@1")[BROKEN]) == "worse"
    assert seen(score_row(found)) == "worse"
    assert score_row(found).name == "aime25, gpt-oss-mock, high effort"
    assert [cell.value for cell in score_row(found).cells] == [1.0, 0.5]
    assert rows(found, "request")["aime25, gpt-oss-mock, high effort"].cells[0].total == 50
    assert rows(found, "reasoning tokens")["aime25, gpt-oss-mock, high effort"].cells[0].value == 9
    (changed,) = found.changes
    assert len(changed.cases) == len(SMALL.cases) + QUESTIONS // 2


def test_tool_calling_and_a_baseline_have_nothing_in_common(made):
    found = columns(read_run(made / "good"), eval_column("b", [8]))
    assert found.tested == 0
    (note,) = found.entries[1].notes
    assert note.index("aime25") < note.index("tool_calling")


def test_a_check_with_the_same_share_in_too_few_tries_to_fail_is_no_change():
    few = judging("few", chat=(2, 2), responses=(0, 200))
    passed = few.checks["tools.loop"].model_copy(update={"status": "passed"})
    few = replace(few, checks={"tools.loop": passed})
    assert not columns(BAD, few).changes[0].fixed
    assert not columns(few, BAD).changes[0].broken
    assert columns(BAD, GOOD).changes[0].fixed
    assert columns(GOOD, BAD).changes[0].broken


# --- The previous run


def test_the_previous_run_is_the_latest_finished_one_with_the_same_settings(tmp_path):
    judged_run(tmp_path / "first", day=0, **LITTLE)
    judged_run(tmp_path / "second", day=1, **LITTLE)
    judged_run(tmp_path / "hotter", day=2, temperature=0.9, **LITTLE)
    judged_run(tmp_path / "cut", day=2.5, made=0, finished=False, **LITTLE)
    judged_run(tmp_path / "other", provider="other", day=2.6, **LITTLE)
    judged_run(tmp_path / "eval", day=2.7, suite=None, tries=1, evals=lambda *_: True)
    judged_run(tmp_path / "now", day=3, **LITTLE)
    judged_run(tmp_path / "later", day=4, **LITTLE)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text("[]")
    assert previous_run(tmp_path / "now").name == "second"
    assert previous_run(tmp_path / "first") is None
    assert previous_run(tmp_path / "other") is None


def changes(now, before):
    (found,) = compare(labelled([read_run(before), read_run(now)]), 0, "1").changes
    return found


def test_changes_name_checks_cases_and_conditions(made, tmp_path):
    before = judged_run(tmp_path / "before")
    now = judged_run(tmp_path / "now", miscounted=True, day=1)
    found = changes(now, before)
    (change,) = found.broken
    assert (change.id, change.before, change.after) == ("usage.sum", "passed", "failed")
    assert change.beyond_chance
    assert found.worse
    assert not found.fixed
    back = changes(before, now)
    assert [change.id for change in back.fixed] == ["usage.sum"]
    assert not back.broken
    assert not back.worse
    worse = changes(made / "bad", made / "good")
    assert [change.name for change in worse.rates] == [BROKEN]
    assert len(worse.cases) == len(SMALL.cases)
    assert worse.worse


@pytest.mark.parametrize("change", ["base_url", "model", "apis", "suite"])
def test_a_run_of_another_subject_is_no_previous_run(change, tmp_path):
    judged_run(tmp_path / "before", day=0, **LITTLE)
    judged_run(tmp_path / "now", day=1, **LITTLE)
    assert previous_run(tmp_path / "now").name == "before"
    path = tmp_path / "before" / "run.json"
    info = json.loads(path.read_text())
    (condition, *_) = info["tasks"][0]["conditions"]
    owners = {"base_url": info["provider"], "model": condition}
    owners.get(change, info["settings"])[change] = ["chat"] if change == "apis" else "other"
    path.write_text(json.dumps(info))
    assert previous_run(tmp_path / "now") is None


def test_a_run_is_compared_with_its_previous_run(tmp_path):
    judged_run(tmp_path / "before", day=0)
    now = judged_run(tmp_path / "now", never_in(BROKEN), day=1)
    (name, at), found = since_previous(now)
    assert (name, at[:10]) == ("before", "2026-11-01")
    assert [each.name for each in found.changes[0].rates] == [BROKEN]
    shutil.rmtree(tmp_path / "before")
    assert since_previous(now) is None


# --- History


def test_history_has_every_run_with_changes_and_gaps(tmp_path):
    for number, day in enumerate((0, 1, 2, 12)):
        changed = {"temperature": 0.5} if number == 3 else {}
        judged_run(tmp_path / f"run-{9 - number}", provider="mine", day=day, **LITTLE, **changed)
    judged_run(tmp_path / "other", never_in(BROKEN), provider="other", day=5, **LITTLE)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text("{")
    found = history_of(tmp_path, None)
    mine, other = found.lines
    assert [point.run for point in mine.points] == ["run-9", "run-8", "run-7", "run-6"]
    assert [point.gap_days for point in mine.points] == [None, None, None, 10.0]
    assert [change.what for change in mine.points[3].changed] == ["temperature"]
    assert not any(point.changed for point in mine.points[:3])
    assert other.points[0].pass_hat.value == 0.0
    assert (other.points[0].failed_checks, other.points[0].tokens) == (0, 4 * 70)
    assert len(found.unread) == 1
    assert [line.provider for line in history_of(tmp_path, "other").lines] == ["other"]


def test_every_night_without_an_answer_has_a_row_whatever_runs_stand_between(tmp_path):
    """Unfinished runs hide no later night; a night that ended a run that is here has its row."""
    judged_run(tmp_path / "whole", provider="mine", day=0, **LITTLE)
    judged_run(tmp_path / "halted", provider="mine", day=1, **LITTLE)
    info = read_run_info(tmp_path / "halted")
    write_run_info(tmp_path / "halted", info.model_copy(update={"stopped": "Stopped after 3."}))
    analysis = read_analysis(tmp_path / "halted")
    stopped = analysis.run.model_copy(update={"stopped": "Stopped after 3."})
    unfinished = {"run": stopped, "complete": False}
    write_analysis(tmp_path / "halted", analysis.model_copy(update=unfinished))
    for day, run in ((2, None), (3, "halted"), (4, "deleted"), (5, None)):
        at = f"2026-11-0{day + 1}T06:00:00+00:00"
        note_unanswered(tmp_path, Unanswered(provider="mine", at=at, why="no route", run=run))
    (line,) = history_of(tmp_path, None).lines
    kinds = ["silent" if e.unanswered else e.stopped or "run" for e in line.points]
    assert kinds == ["run", "Stopped after 3.", "silent", "silent", "silent"]
    assert [e.started_at[8:10] for e in line.points[2:]] == ["03", "05", "06"]


def test_lines_of_unanswered_nights_that_cannot_be_read_are_left_out(tmp_path):
    good = b'{"provider": "mine", "at": "2026-11-01T06:00:00+00:00", "why": "no route"}\n'
    (tmp_path / "unanswered.jsonl").write_bytes(b"{torn\n" + good + b"[]\n\xff\n")
    assert [note.why for note in unanswered(tmp_path, "mine")] == ["no route"]
    assert not unanswered(tmp_path, "other")


def test_history_compares_settings_with_the_latest_run_of_the_same_task(tmp_path):
    judged_run(tmp_path / "a", day=0, **LITTLE)
    judged_run(tmp_path / "b", day=1, suite=None, evals=lambda *_: True, temperature=0.5)
    judged_run(tmp_path / "c", day=2, temperature=0.5, **LITTLE)
    (line,) = history_of(tmp_path, None).lines
    assert [[change.what for change in point.changed] for point in line.points] == [
        [],
        [],
        ["temperature"],
    ]
    assert line.points[1].scores["aime25, gpt-oss-mock, high effort"].value == 1.0
    assert line.points[1].pass_at is None


def test_a_retest_is_no_night(tmp_path):
    for day, name in enumerate("abc"):
        judged_run(tmp_path / name, day=day, **LITTLE, **({"temperature": 0.5} if day == 1 else {}))
    analysis = read_analysis(tmp_path / "b")
    again = analysis.run.model_copy(update={"retest": RetestInfo(run="runs/a", rules=())})
    write_analysis(tmp_path / "b", analysis.model_copy(update={"run": again}))
    (line,) = history_of(tmp_path, None).lines
    assert [[*remarks(point)] != [] for point in line.points] == [False, True, False]
    assert [rate and rate.value for rate in next(iter(series(line).values()))] == [1.0, None, 1.0]


@pytest.mark.parametrize(
    ("days", "late"),
    [
        ([1], [None]),
        ([1, 9], [None, None]),
        ([1, 2, 3, 13], [None, None, None, 10.0]),
        ([1, 1.01, 1.02, 1.1], [None, None, None, None]),
    ],
)
def test_a_gap_is_a_pause_much_longer_than_usual_and_than_a_day(days, late):
    assert gaps([datetime.fromtimestamp(86_400 * day, UTC).isoformat() for day in days]) == late


def test_a_comparison_can_be_read_back(made):
    found = compared(made / "good", made / "mixed")
    assert type(found).model_validate(json.loads(found.model_dump_json())) == found
