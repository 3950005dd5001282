"""The page of an eval: questions, charts, and attempt maps."""

import json
import re

from replies import Reply
from reporting import (
    analysis,
    condition,
    eval_result,
    failing_scores,
    render,
    rollout,
    rubric,
    score,
    tool_calling,
)

from reports.build import build_report

SECRET = "What is the answer that nobody may read?"
EFFORTS = [condition(effort=effort) for effort in ("low", "high")]


def gpqa_scores():
    return [
        score(
            question,
            number,
            "correct" if (under.effort == "high" or number == 1) and question != "q3" else "wrong",
            task="gpqa",
            condition=under,
            answer="A",
        )
        for under in EFFORTS
        for question in ("q1", "q2", "q3")
        for number in (1, 2)
    ]


def of(scores, under):
    return [each for each in scores if each.condition == under]


def gpqa():
    return [eval_result(of(gpqa_scores(), under)) for under in EFFORTS]


def log(scores):
    for each in scores:
        yield rollout(each, [Reply(text=f"{SECRET} A", reasoning=SECRET)])


def page(texts=None, results=(), scores=()):
    found = analysis([*gpqa(), *results], decision="fail", reasons=["gpqa: `low` is worse"])
    every = [*gpqa_scores(), *scores]
    return render(build_report(found, "eval-mock", texts=texts), every, log(every))


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


def test_questions_are_shown_only_if_requested():
    assert SECRET not in page()
    shown = page({("gpqa", "q1"): SECRET})
    assert len(data_of(shown)["transcripts"]) == 12
    assert SECRET in shown


def test_transcripts_of_other_tasks_are_shown():
    low = EFFORTS[0]
    answers = [score(each, 1, "correct", task="aime25", condition=low) for each in ("q1", "q2")]
    scores = [*failing_scores(), *answers]
    results = [tool_calling(failing_scores()), eval_result(answers)]
    shown = data_of(page(results=results, scores=scores))
    assert sorted(shown["transcripts"]) == sorted(each.record for each in scores)
    assert "of gpqa are" in shown["without"]
    assert "--show-questions" in shown["without"]
    assert len(shown["scores"]) == 20


def test_a_score_is_plotted_with_the_range_of_its_baseline():
    text = page()
    assert "gpqa: <code>low</code> is worse" in text
    drawings = re.findall(r'<svg [^>]*aria-label="gpqa: (low[^"]*)"', text)
    assert drawings == ["low effort 33.3%; high effort 66.7%"]
    assert text.count('class="reference"') == 2
    band = re.search(r'<rect x="\S+" y="(\S+)" width="60" height="(\S+)" class="reference"', text)
    top, height = map(float, band.groups())
    scale = 200 - 30 - 18
    assert abs((170 - top - 1) / scale - 0.7) < 0.01
    assert abs((170 - top - height + 1) / scale - 0.6) < 0.01


def test_every_try_is_a_cell_with_the_worst_question_first():
    text = page()
    assert text.count('<button class="cell ') == 12
    assert re.findall(r"<bdi>(q\d)</bdi>", text)[0] == "q3"
    assert "baseline 65.0%, margin 4" in text
    assert "Baseline of gpqa, low effort" in text


def test_curves_include_maj_at_k():
    drawings = re.findall(r'aria-label="gpqa, high effort: (pass@2[^"]*)"', page())
    assert drawings == ["pass@2 66.7%; maj@2 66.7%; pass^2 33.3%"]


def test_grades_are_shown_in_tenths():
    scores = [
        score("q9", number, "graded", task="healthbench", condition=EFFORTS[0], value=value)
        for number, value in ((1, 0.55), (2, 1.0), (3, -0.2))
    ]
    text = page(results=[eval_result(scores, rubric=rubric(), grader="gpt-4.1")], scores=scores)
    letters = re.findall(r'data-outcome="graded" aria-label="[^"]*">(.)</button>', text)
    assert letters == ["5", "✓", "0"]
    assert '<span class="count">0.45</span>' in text
    assert "Rubric scores of healthbench, low effort" in text
    assert data_of(text)["scores"][scores[0].record]["notes"] == [["score", "0.55"]]


def test_each_task_has_its_own_attempt_map():
    scores = failing_scores()
    text = page(results=[tool_calling(scores)], scores=scores)
    assert re.findall(r'aria-label="Filter samples: ([^"]*)"', text) == ["gpqa", "tool calling"]
