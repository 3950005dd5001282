"""Runs side by side, from judged folders to rows, differences and news."""

import json
import shutil
from datetime import UTC, datetime

import pytest
from compared_runs import SMALL, TINY, always, attempts, judged_run, miscounted, never_in
from evals.comparison.comparing import compare, labelled
from evals.comparison.history import gaps
from evals.comparison.news import news
from evals.comparison.reading import read_column, read_run
from evals.comparison.runs import ScoredRun
from evals.comparison.runs_folder import history_of, previous, read_news, write_news
from evals.judgement import CellScores, Sampling
from evals.records import Cell
from recorded_runs import many_cases, troubled

from evals.baselines.measured import create_baseline, write_baseline
from harness.errors import ConfigurationError, HarnessError
from harness.records.runs import DatasetInfo

GROUPS = (
    "responses · streaming",
    "responses · non-streaming",
    "chat · streaming",
    "chat · non-streaming",
)
BROKEN = "chat · non-streaming"
LITTLE = {"suite": TINY, "tries": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a good run, one that fails in one group, and one in which much goes wrong."""
    folder = tmp_path_factory.mktemp("runs")
    judged_run(folder / "good", provider="good", day=1)
    judged_run(folder / "bad", attempts(never_in(BROKEN)), provider="bad", day=2)
    judged_run(folder / "mixed", troubled(SMALL, tries=5, seed=3), provider="mixed", day=3)
    return folder


def side_by_side(*folders, against=0):
    return compare(labelled([read_column(str(folder)) for folder in folders]), against, "0.1.0")


def rows(comparison, name):
    return {row.group: row for row in comparison.rows if row.name == name}


def seen(row, index=1):
    return row.differences[index].seen


# --- Smoke tests


def test_a_run_beside_a_copy_of_itself_differs_in_nothing(made, tmp_path):
    shutil.copytree(made / "mixed", tmp_path / "copy")
    found = side_by_side(made / "mixed", tmp_path / "copy")
    assert found.tested > 0
    assert not any(row.differs for row in found.rows)
    assert not found.flips
    assert {one.value for row in found.rows for one in row.differences if one} == {0.0}


def test_a_group_that_is_worse_is_said_to_be_worse_and_no_other(made):
    found = side_by_side(made / "good", made / "bad")
    first = rows(found, "pass@1")
    assert {group: seen(row) for group, row in first.items()} == {
        group: "worse" if group == BROKEN else "none" for group in GROUPS
    }
    difference = first[BROKEN].differences[1]
    assert difference.value == -1.0
    assert difference.pairs == len(SMALL.cases)
    assert first[BROKEN].cells[1].value == 0.0


def test_the_sides_swapped_say_the_opposite(made):
    one = rows(side_by_side(made / "good", made / "bad"), "pass@1")[BROKEN]
    other = rows(side_by_side(made / "good", made / "bad", against=1), "pass@1")[BROKEN]
    assert other.differences[1] is None
    assert (seen(one, 1), seen(other, 0)) == ("worse", "better")
    assert other.differences[0].low == pytest.approx(-one.differences[1].high)


def test_cases_that_flipped_are_named(made):
    (found,) = side_by_side(made / "good", made / "bad").flips
    assert {flip.sample for flip in found.flips} == {case.id for case in SMALL.cases}
    assert {(flip.group, flip.here, flip.there) for flip in found.flips} == {
        (BROKEN, (0, 5), (5, 5))
    }
    assert not any(flip.better for flip in found.flips)


def test_a_check_that_fails_in_one_run_differs_and_has_its_evidence(tmp_path):
    judged_run(tmp_path / "one", provider="one")
    judged_run(tmp_path / "two", miscounted(), provider="two")
    found = side_by_side(tmp_path / "one", tmp_path / "two")
    (row,) = rows(found, "usage.sum").values()
    assert row.differs
    assert [cell.status for cell in row.cells] == ["passed", "failed"]
    assert row.cells[1].hits == 20
    assert row.cells[1].examples[0].id == row.name
    assert row.differences[1].seen == "worse"
    assert row.differences[1].pairs is None


def test_other_tries_are_compared_and_said(made, tmp_path):
    judged_run(tmp_path / "few", attempts(never_in(BROKEN), tries=3), tries=3)
    found = side_by_side(made / "good", tmp_path / "few")
    assert [(change.what, change.here, change.there) for change in found.entries[1].differs] == [
        ("tries", "3", "5")
    ]
    assert set(rows(found, "pass@3")) == set(GROUPS)
    assert not rows(found, "pass@5")
    assert seen(rows(found, "pass@1")[BROKEN]) == "worse"


def test_only_cases_in_the_same_words_are_paired(made, tmp_path):
    """The other run has the same four cases, two of them under new ids."""
    suite = many_cases(4)
    judged_run(tmp_path / "other", attempts(always, suite), suite=suite)
    found = side_by_side(made / "good", tmp_path / "other")
    assert found.tested == 0
    assert "Paired over the 0 cases" in found.entries[1].notes[0]
    assert all(row.cells[1] is not None for row in rows(found, "pass@1").values())


def test_groups_that_only_one_run_has_are_left_out_and_named(made, tmp_path):
    chat = [each for each in attempts(always) if each.api == "chat"]
    judged_run(tmp_path / "chat", chat, apis=("chat",))
    found = side_by_side(made / "good", tmp_path / "chat")
    first = rows(found, "pass@1")
    assert first["responses · streaming"].cells[1] is None
    assert first["responses · streaming"].differences == (None, None)
    assert first[BROKEN].differences[1] is not None
    assert found.entries[1].notes == (
        "Only one of the two was asked over responses · non-streaming, responses · streaming.",
    )


def test_an_unfinished_run_is_compared_by_what_was_made(made, tmp_path):
    judged_run(tmp_path / "cut", list(attempts(always))[:40], finished=False)
    found = side_by_side(made / "good", tmp_path / "cut")
    assert "--resume" in found.entries[1].notes[0]
    assert {seen(row) for row in rows(found, "pass@1").values()} == {"none"}
    assert rows(found, "pass@1")[BROKEN].cells[1].value == 0.5


def test_equal_names_are_told_apart_by_time_and_then_by_place(made, tmp_path):
    judged_run(tmp_path / "a", provider="good", day=2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    columns = [made / "good", made / "bad", tmp_path / "a", tmp_path / "b"]
    labels = [one.entry.label for one in labelled([read_column(str(path)) for path in columns])]
    assert labels == [
        "good 2026-11-02 10:00",
        "bad",
        f"good 2026-11-03 10:00 {tmp_path / 'a'}",
        f"good 2026-11-03 10:00 {tmp_path / 'b'}",
    ]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "run.json").unlink(), "is not a run folder"),
        (lambda folder: (folder / "analysis.json").unlink(), "recheck"),
        (lambda folder: (folder / "judgements.jsonl").unlink(), "judgements.jsonl"),
        (lambda folder: (folder / "analysis.json").write_text("{}"), "another version"),
        (lambda folder: (folder / "judgements.jsonl").write_text("{}\n"), "another version"),
        (lambda folder: (folder / "run.json").write_text('{"kind": "trial"}'), "does not know"),
    ],
)
def test_a_folder_that_cannot_be_compared_is_one_sentence(break_it, message, made, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(made / "good", folder)
    break_it(folder)
    with pytest.raises(HarnessError, match=message) as error:
        read_run(folder)
    assert "\n" not in str(error.value)


def test_a_name_of_nothing_says_what_may_be_named():
    with pytest.raises(ConfigurationError, match=r"no run folder, no baseline file .* card"):
        read_column("nowhere")


# --- Scores


def scores(chances, model="gpt-oss-20b", tries=8, questions=30, **changes):
    """Scores of a cell: question i is right in the first `chances[i]` tries of every 8."""
    found = {
        f"q{i}": tuple(float(t % 8 < chances[i % len(chances)]) for t in range(tries))
        for i in range(questions)
    }
    data = DatasetInfo(eval="aime25", source="hub", rows=30, sha256="0" * 64)
    sampling = Sampling(api="chat", temperature=1.0, top_p=1.0, max_tokens=131_072)
    cell = Cell(eval="aime25", model=model, effort="high")
    made = CellScores(cell=cell, dataset=data, sampling=sampling, planned=tries, scores=found)
    return made.model_copy(update=changes)


def baseline(folder, name, *cells):
    file = folder / f"{name}.json"
    write_baseline(create_baseline(cells, name, "0.1.0", datetime(2026, 11, 1, tzinfo=UTC)), file)
    return file


def score_row(found):
    (row,) = (row for row in found.rows if row.section == "Scores")
    return row


def test_baseline_files_are_paired_by_question(tmp_path):
    good = baseline(tmp_path, "good", scores([8, 8, 7]))
    bad = baseline(tmp_path, "bad", scores([2, 8, 7], model="openai/gpt-oss-20b"))
    found = side_by_side(good, bad)
    row = score_row(found)
    assert row.name == "aime25, gpt-oss-20b, high effort"
    assert row.differences[1].seen == "worse"
    assert row.differences[1].pairs == 30
    (flips,) = found.flips
    assert {flip.here for flip in flips.flips} == {(2, 8)}
    assert len(flips.flips) == 10


def test_scores_are_compared_on_the_questions_that_both_were_asked(tmp_path):
    all_of_them = baseline(tmp_path, "all", scores([8, 8, 7]))
    half = baseline(tmp_path, "half", scores([8, 8, 7], questions=12))
    for files in ((all_of_them, half), (half, all_of_them)):
        difference = score_row(side_by_side(*files)).differences[1]
        assert (difference.pairs, difference.value, difference.seen) == (12, 0.0, "none")


def test_other_questions_are_not_compared_and_it_says_why(tmp_path):
    ours = baseline(tmp_path, "ours", scores([8]))
    other = DatasetInfo(eval="aime25", source="file", rows=30, sha256="1" * 64)
    theirs = baseline(tmp_path, "theirs", scores([8], dataset=other))
    found = side_by_side(ours, theirs)
    assert score_row(found).differences == (None, None)
    assert "the hashes differ" in found.entries[1].notes[0]


@pytest.mark.parametrize("against", [0, 1])
def test_published_figures_stand_beside_a_measured_run(tmp_path, against):
    bad = baseline(tmp_path, "bad", scores([2]))
    found = side_by_side(bad, "card", against=against)
    row = score_row(found)
    assert row.cells[1].value == pytest.approx(0.917)
    assert seen(row, 1 - against) == ("better" if against == 0 else "worse")


def test_a_smoke_test_and_scores_share_nothing_and_it_says_so(made, tmp_path):
    found = side_by_side(made / "good", baseline(tmp_path, "b", scores([8])))
    assert found.tested == 0
    assert "the two share nothing" in found.entries[1].notes[0]


# --- The run before


def test_the_run_before_is_the_latest_finished_one_with_the_same_settings(tmp_path):
    judged_run(tmp_path / "first", day=0, **LITTLE)
    judged_run(tmp_path / "second", day=1, **LITTLE)
    judged_run(tmp_path / "hotter", day=2, temperature=0.9, **LITTLE)
    judged_run(tmp_path / "cut", [], day=2.5, finished=False, **LITTLE)
    judged_run(tmp_path / "other", provider="other", day=2.6, **LITTLE)
    judged_run(tmp_path / "now", day=3, **LITTLE)
    judged_run(tmp_path / "later", day=4, **LITTLE)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text("[]")
    assert previous(tmp_path / "now").name == "second"
    assert previous(tmp_path / "first") is None
    assert previous(tmp_path / "other") is None


def test_news_names_checks_cases_and_groups_that_came_to_fail(made, tmp_path):
    before = read_run(judged_run(tmp_path / "before"))
    now = read_run(judged_run(tmp_path / "now", miscounted(), day=1))
    found = news(now, before)
    ((change,), fixed) = found.broken, found.fixed
    assert (change.id, change.before, change.after) == ("usage.sum", "passed", "failed")
    assert change.beyond_chance
    assert not fixed
    back = news(before, now)
    assert [change.id for change in back.fixed] == ["usage.sum"]
    assert not back.broken
    quiet = news(before, before)
    assert quiet.quiet
    worse = news(read_run(made / "bad"), read_run(made / "good"))
    assert [change.name for change in worse.scores] == [BROKEN]
    assert len(worse.flips) == len(SMALL.cases)


def test_news_is_kept_beside_the_run_and_goes_when_there_is_no_run_before(tmp_path):
    judged_run(tmp_path / "before", day=0)
    now = judged_run(tmp_path / "now", attempts(never_in(BROKEN)), day=1)
    write_news(now)
    assert read_news(now).previous == "before"
    shutil.rmtree(tmp_path / "before")
    write_news(now)
    assert read_news(now) is None
    assert not (now / "news.json").exists()


# --- History


def test_history_has_every_run_in_time_with_changes_and_gaps(tmp_path):
    for number, day in enumerate((0, 1, 2, 12)):
        changed = {"temperature": 0.5} if number == 3 else {}
        judged_run(tmp_path / f"run-{9 - number}", provider="mine", day=day, **LITTLE, **changed)
    judged_run(
        tmp_path / "other", attempts(never_in(BROKEN), TINY, 1), provider="other", day=5, **LITTLE
    )
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text("{")
    found = history_of(tmp_path, None)
    mine, other = found.lines
    assert [point.run for point in mine.points] == ["run-9", "run-8", "run-7", "run-6"]
    assert [point.gap_days for point in mine.points] == [None, None, None, 10.0]
    assert [change.what for change in mine.points[3].changed] == ["temperature"]
    assert not any(point.changed for point in mine.points[:3])
    assert other.points[0].pass_hat.value == 0.0
    assert len(found.unread) == 1
    assert [line.provider for line in history_of(tmp_path, "other").lines] == ["other"]


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
    times = [datetime.fromtimestamp(86_400 * day, UTC).isoformat() for day in days]
    assert gaps(times) == late


def test_a_comparison_can_be_read_back(made):
    found = side_by_side(made / "good", made / "mixed")
    text = found.model_dump_json()
    assert type(found).model_validate(json.loads(text)) == found
    assert isinstance(found, type(found))
    assert not isinstance(read_run(made / "good"), ScoredRun)
