"""What people see of an eval run."""

import io

import pytest
from rich.console import Console
from sample_evals import load_eval

from evals.analysis import CellTally, filled
from harness.records.runs import DatasetInfo
from evals.cost import Cost, Expectation
from evals.decision import decide
from evals.healthbench.summary import rubric_score, summarise
from evals.judgement import BaselineInfo, CellVerdict, Figure
from evals.records import Cell, EvalRunInfo, EvalSettings, TryScore
from evals.results import EvalAnalysis
from harness.records.runs import ProviderInfo
from harness.statistics.mean_scores import Mean
from harness.statistics.noninferiority import compare
from reports.eval_markdown import render_eval_markdown
from reports.eval_plan import plan_lines
from reports.eval_terminal import print_eval_analysis

NASTY = "q`1`|<b>@all*"
PROVIDER = ProviderInfo(
    name="mock|`x`", base_url="http://127.0.0.1:1/v1", model="m", extra_body={}, header_names=(),
    launch_command=None,
)  # fmt: skip


def verdict(cell, decision):
    comparison = compare(Mean(0.6, 0.01, 8), Mean(0.72, 0.01, 8), 0.04)
    figure = Figure(source="card", where="arXiv 2508.10925", kind="card", value=0.72, tries=8)
    baseline = BaselineInfo(name="card", explanation="Asked for.", figures=(figure,))
    if decision is None:
        return CellVerdict(cell=cell, decision=None, reason="not compared: nothing is known.")
    return CellVerdict(
        cell=cell, decision=decision, reason="worse by far.", comparison=comparison,
        baseline=baseline, warnings=("Sampled with temperature 0.5.",),
    )  # fmt: skip


def result(name, effort, decision, *, sample=False):
    cell = Cell(eval=name, model="gpt-oss-20b", effort=effort)
    data = DatasetInfo(eval=name, source="hub", revision="abc", rows=2, sha256="0", sample=sample)
    tally = CellTally(cell, ("a", NASTY), 2)
    for number in (1, 2):
        for question, outcome in (("a", "correct"), (NASTY, "wrong")):
            tally.add(
                TryScore(
                    record=f"{cell.name}/{question}/{number}", cell=cell, question=question,
                    number=number, outcome=outcome, score=float(outcome == "correct"),
                    answer="B", order=(2, 0, 1, 3), openai_score=0.0, output_tokens=1000,
                    reasoning_tokens=900, seconds=1.5,
                )
            )  # fmt: skip
    rubric, grader = None, None
    if name == "healthbench":
        rows = load_eval(name).rows.values()
        met = [{item.id: True for item in row.items} for row in rows]
        rubric = summarise(map(rubric_score, rows, met))
        grader = "gpt-4.1"
    scores = filled(tally.by_question(), 2)
    return tally.result(data, rubric, grader, verdict(cell, decision), scores)


def analysis(*cells, complete=True):
    names = tuple(dict.fromkeys(cell.cell.eval for cell in cells))
    settings = EvalSettings(
        evals=names, models=("gpt-oss-20b",), efforts=("low",), api="chat", streaming=False,
        tries=dict.fromkeys(names, 2), concurrency=8,
    )  # fmt: skip
    run = EvalRunInfo(
        tool_version="0.1.0", command=("gpt-oss-verify", "eval"), provider=PROVIDER,
        settings=settings, datasets=tuple(cell.dataset for cell in cells),
        planned=sum(cell.planned for cell in cells), versions={"python": "3"}, started_at="now",
    )  # fmt: skip
    decision, reasons = decide(cells, complete=complete, shard=None)
    return EvalAnalysis(
        run_id="r", run=run, complete=complete, cells=cells, decision=decision, reasons=reasons
    )


def on_terminal(made, width):
    stream = io.StringIO()
    print_eval_analysis(made, "runs/r", Console(file=stream, width=width))
    return stream.getvalue()


EVERYTHING = analysis(
    *(result("aime25", effort, "fail") for effort in ("low", "medium", "high")),
    *(result("gpqa", effort, "pass") for effort in ("low", "medium", "high")),
    result("healthbench", "low", None),
)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_tables_fit_the_terminal(width):
    lines = on_terminal(EVERYTHING, width).splitlines()
    shown = [line for line in lines if not line.startswith(("Report", "Next", "Note"))]
    assert max(map(len, shown)) <= width


def test_the_terminal_says_the_verdict_the_reasons_and_what_to_do():
    text = on_terminal(EVERYTHING, 120)
    assert "FAIL  worse by far." in text
    assert "Note    Sampled with temperature 0.5." in text
    assert text.count("Note ") == 1
    assert "Report  runs/r/report.html" in text
    assert "Next    Start with the hardest questions" in text
    assert "rubric items graded by gpt-4.1" in text


def test_samples_are_named_as_samples_everywhere():
    made = analysis(result("gpqa", "low", None, sample=True))
    for text in (on_terminal(made, 100), render_eval_markdown(made)):
        assert "SCORED" in text
        assert "gpqa (samples)" in text
        assert "Sample questions that come with the tool" in text
        assert "INCONCLUSIVE" not in text


def test_an_unfinished_run_says_how_to_finish_it():
    text = on_terminal(analysis(result("gpqa", "low", "pass"), complete=False), 100)
    assert "INCONCLUSIVE" in text
    assert "gpt-oss-verify eval --resume runs/r" in text


def test_the_report_has_scores_baseline_and_evidence():
    text = render_eval_markdown(EVERYTHING)
    assert text.startswith("# FAIL: gpt-oss on ")
    assert "| score % | 50.0" in text
    assert "- 72.0 %: arXiv 2508.10925 (8 tries)" in text
    assert "| axis accuracy |" in text
    assert "answer `B`, choices A=3 B=1 C=2 D=4, B was right" in text
    assert "`r/rollouts.jsonl`" in text


def test_nothing_in_a_report_turns_into_markup():
    text = render_eval_markdown(EVERYTHING, {("gpqa", NASTY): "Is it | <b>this</b>? `@you`"})
    assert "``q`1`|<b>@all*``" in text
    assert "`` Is it | <b>this</b>? `@you` ``" in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count("|") - line.count(r"\|") for line in table[:5]}) == 1


def test_a_plan_says_what_is_not_known():
    cost = Cost(
        provider="p", requests=1200, input_tokens=5, output_tokens=6, most_output_tokens=None,
        dollars=None, minutes=None,
    )  # fmt: skip
    known = cost.model_copy(update={"dollars": 12.5, "minutes": 90, "most_output_tokens": 7})
    lines = list(plan_lines(Expectation(cells=1, sampling=cost, grading=known)))
    assert lines[0] == "1 cell to sample from p: 1,200 requests"
    assert "cost: not known" in lines[2]
    assert "time: not known" in lines[3]
    assert "at most 7" in lines[5]
    assert lines[6:] == [
        "  cost: about $12.50",
        "  time: at least 90 minutes under the limits given",
    ]
