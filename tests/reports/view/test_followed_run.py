"""A run folder that grows, is judged, is damaged or is gone, as its table follows it."""

import gzip

import pytest
from replies import Reply
from reporting import TOOLS, analysis, failed_rule, finding, rollout, score, tool_calling
from viewing import followed, read_all, write, write_judgement

from harness.errors import RunLogError
from harness.run import run_folder
from harness.run.run_log import ROLLOUTS_FILE
from reports.view.followed_run import FollowedRun
from reports.view.rows import Choice

SCORES = [score("weather", number) for number in (1, 2, 3)]
LOG = [rollout(each, [Reply(text=f"Sunny {each.attempt}.")]) for each in SCORES]
EVERY = Choice()


def records(run):
    return [row.record for row in run.chosen(EVERY)]


def test_attempts_appear_as_they_end(tmp_path):
    write_judgement(tmp_path, SCORES, ended=False)
    run = read_all(followed(tmp_path))
    assert records(run) == []
    for number, each in enumerate(LOG, 1):
        write(tmp_path, [each])
        version = run.version
        read_all(run)
        assert records(run) == [made.id for made in LOG[:number]]
        assert run.version != version
    progress = run.progress()
    assert (progress["attempts"], progress["ended"], progress["verdict"]) == (3, False, "")


def test_half_a_line_waits_for_its_end(tmp_path):
    write_judgement(tmp_path, SCORES, ended=False)
    write(tmp_path, LOG[:2])
    log = tmp_path / ROLLOUTS_FILE
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    run = read_all(followed(tmp_path))
    assert records(run) == [LOG[0].id]
    log.write_bytes(whole)
    assert records(read_all(run)) == [LOG[0].id, LOG[1].id]


def test_a_version_stays_while_nothing_happens(tmp_path):
    write_judgement(tmp_path, SCORES)
    write(tmp_path, LOG)
    run = read_all(followed(tmp_path))
    version = run.version
    assert not run.look()
    assert run.version == version


def test_a_judged_run_has_all_rows_before_its_log_is_read(tmp_path):
    write_judgement(tmp_path, [*SCORES, score("weather", 4, "not_run")])
    write(tmp_path, LOG)
    run = followed(tmp_path)
    run._read_judgement()
    assert records(run) == [each.id for each in LOG]
    assert run.chosen(EVERY)[2].said is None
    run.want(run.chosen(EVERY)[2:])
    assert run._read_wanted()
    assert run.chosen(EVERY)[2].said.reply == "Sunny 3."
    assert run.rollout(run.chosen(EVERY)[1]) == LOG[1]  # which is searched for
    assert run.rollout(read_all(run).chosen(EVERY)[1]) == LOG[1]  # whose place is known


def test_a_new_judgement_replaces_what_was_known_of_the_attempts(tmp_path):
    write_judgement(tmp_path, SCORES, ended=False)
    write(tmp_path, LOG)
    provisional = score("weather", 1, "wrong_tool")
    run = read_all(FollowedRun(tmp_path, lambda _: lambda made: provisional))
    assert {row.score.outcome for row in run.chosen(EVERY)} == {"wrong_tool"}
    write_judgement(tmp_path, SCORES)
    read_all(run)
    assert {row.score.outcome for row in run.chosen(EVERY)} == {"success"}
    progress = run.progress()
    assert (progress["verdict"], progress["decision"], progress["ended"]) == ("FAIL", "fail", True)


def test_the_scorer_is_made_again_if_more_tasks_are_planned(tmp_path):
    made = []

    def scorer(info):
        made.append([task.name for task in info.tasks])
        return lambda _: None

    write_judgement(tmp_path, SCORES, analysis(), ended=False)
    run = FollowedRun(tmp_path, scorer)
    write(tmp_path, LOG[:1])
    read_all(run)
    write_judgement(tmp_path, SCORES, ended=False)
    write(tmp_path, LOG[1:])
    read_all(run)
    assert made == [["cot"], [TOOLS, "cot"]]


def test_findings_of_probes_are_those_of_the_analysis(tmp_path):
    example = finding(LOG[1].id, "cot.used")
    rule = failed_rule("cot.used", "failed", example)
    probe = rule.model_copy(update={"check": rule.check.model_copy(update={"kind": "probe"})})
    check = failed_rule("usage.sum", "failed", finding(LOG[2].id))  # scores have its findings
    write_judgement(tmp_path, SCORES, analysis([tool_calling(SCORES)], [probe, check], "fail"))
    write(tmp_path, LOG)
    run = read_all(followed(tmp_path))
    found = {row.record: [each.id for each in row.findings] for row in run.chosen(EVERY)}
    assert found == {LOG[0].id: [], LOG[1].id: ["cot.used"], LOG[2].id: []}
    assert run.progress()["choices"]["rule"] == [["cot.used", "cot.used", 1]]


def test_a_published_run_is_read_from_its_compressed_log(tmp_path):
    write_judgement(tmp_path, SCORES)
    write(tmp_path, LOG)
    log = tmp_path / ROLLOUTS_FILE
    (tmp_path / f"{ROLLOUTS_FILE}.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    run = read_all(followed(tmp_path))
    assert [row.said.reply for row in run.chosen(EVERY)] == ["Sunny 1.", "Sunny 2.", "Sunny 3."]
    assert run.rollout(run.chosen(EVERY)[2]) == LOG[2]


@pytest.mark.parametrize("name", [ROLLOUTS_FILE, run_folder.ANALYSIS_FILE])
def test_a_damaged_file_is_named_and_the_rest_stays(tmp_path, name):
    write_judgement(tmp_path, SCORES)
    write(tmp_path, LOG[:1])
    run = read_all(followed(tmp_path))
    with (tmp_path / name).open("ab") as file:
        file.write(b'{"broken"\n')
    read_all(run)
    problem = run.progress()["problem"]
    assert name in problem
    assert "damaged" in problem
    assert records(run) == [each.record for each in SCORES]


def test_why_a_run_was_stopped_is_said(tmp_path):
    judged = analysis([tool_calling(SCORES)])
    stopped = judged.run.model_copy(update={"stopped": "Stopped after 3 of 9 attempts."})
    write_judgement(tmp_path, SCORES, judged.model_copy(update={"run": stopped}))
    assert read_all(followed(tmp_path)).progress()["problem"] == "Stopped after 3 of 9 attempts."


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunLogError, match="not a run folder"):
        followed(tmp_path)
