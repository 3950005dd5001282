import json
import re

from healthy import MODEL, STARTED, Say, rollout

from evals.analysis import CellTally, filled
from harness.records.runs import DatasetInfo
from evals.judgement import BaselineInfo, CellVerdict, Figure
from evals.records import Cell, EvalRunInfo, EvalSettings, TryScore
from evals.results import EvalAnalysis
from harness.records.scores import Estimate
from harness.records.runs import ProviderInfo
from harness.statistics.noninferiority import Comparison
from reports.html.evals import render_eval_html

SECRET = "What is the answer that nobody may read?"
DATA = DatasetInfo(eval="gpqa", source="Idavidrein/gpqa", rows=3, sha256="a" * 64, gated=True)
QUESTIONS = ["q1", "q2", "q3"]
BASELINE = BaselineInfo(
    name="range",
    explanation="Two reproductions.",
    figures=tuple(
        Figure(source=name, where=f"{name}, table 1", kind="reproduction", value=value)
        for name, value in (("one", 0.6), ("two", 0.7))
    ),
)


def provider():
    return ProviderInfo(
        name="mock",
        base_url="http://127.0.0.1:1/v1",
        model=MODEL,
        extra_body={},
        header_names=(),
        launch_command=None,
    )


def scored(effort, question, number, *, right, outcome=None):
    cell = Cell(eval="gpqa", model=MODEL, effort=effort)
    return TryScore(
        record=f"{cell.name}/{question}/{number}",
        cell=cell,
        question=question,
        number=number,
        outcome=outcome or ("correct" if right else "wrong"),
        score=float(right),
        answer="A",
        output_tokens=120 + number,
        reasoning_tokens=80,
        seconds=1.5,
    )


def scores():
    return [
        scored(
            effort, question, number, right=(effort == "high" or number == 1) and question != "q3"
        )
        for effort in ("low", "high")
        for question in QUESTIONS
        for number in (1, 2)
    ]


def cell_result(effort, found):
    cell = Cell(eval="gpqa", model=MODEL, effort=effort)
    tally = CellTally(cell, QUESTIONS, 2)
    for score in found:
        if score.cell == cell:
            tally.add(score)
    comparison = Comparison(
        decision="fail",
        score=0.3,
        baseline=0.65,
        difference=Estimate(value=-0.35, low=-0.5, high=-0.2),
        margin=0.04,
        detectable=0.02,
    )
    verdict = CellVerdict(
        cell=cell, decision="fail", reason="it is worse", comparison=comparison, baseline=BASELINE
    )
    return tally.result(DATA, None, None, verdict, filled(tally.by_question(), 2))


def analysis():
    settings = EvalSettings(
        evals=("gpqa",),
        models=(MODEL,),
        efforts=("low", "high"),
        api="chat",
        streaming=False,
        tries={"gpqa": 2},
        concurrency=8,
    )
    run = EvalRunInfo(
        tool_version="0.1.0",
        command=("gpt-oss-verify", "eval", "--provider", "mock"),
        provider=provider(),
        settings=settings,
        datasets=(DATA,),
        planned=12,
        versions={"python": "3.11.0"},
        started_at=STARTED,
    )
    return EvalAnalysis(
        run_id="eval-mock",
        run=run,
        complete=True,
        cells=(cell_result("low", scores()), cell_result("high", scores())),
        decision="fail",
        reasons=("gpqa: `low` is worse",),
    )


def log():
    for score in scores():
        said = [Say(text=f"{SECRET} A", reasoning=SECRET)]
        yield rollout(said, sample=score.question).model_copy(update={"id": score.record})


def page(texts=None):
    return render_eval_html(analysis(), scores(), log(), texts or {})


def test_questions_are_shown_only_if_asked_for():
    assert SECRET not in page()
    shown = page({("gpqa", "q1"): SECRET})
    data = json.loads(re.search(r'id="data">(.*?)</script>', shown)[1])
    assert len(data["transcripts"]) == 12
    assert SECRET in shown


def test_a_score_stands_beside_the_range_of_its_baseline():
    text = page()
    assert "gpqa: <code>low</code> is worse" in text
    drawings = re.findall(r'<svg [^>]*aria-label="gpqa, gpt-oss-mock: ([^"]*)"', text)
    assert drawings == ["low effort 33.3%; high effort 66.7%"]
    assert text.count('class="reference"') == 2
    band = re.search(r'<rect x="\S+" y="(\S+)" width="60" height="(\S+)" class="reference"', text)
    top, height = map(float, band.groups())
    scale = 220 - 28 - 16
    assert abs((192 - top - 1) / scale - 0.7) < 0.01
    assert abs((192 - top - height + 1) / scale - 0.6) < 0.01


def test_every_try_is_a_cell_the_hardest_question_first():
    text = page()
    assert text.count('<button class="cell ') == 12
    order = re.findall(r"<bdi>(q\d)</bdi>", text)
    assert order[0] == "q3"
    assert "baseline 65.0 %, margin 4" in text
