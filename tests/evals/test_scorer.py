"""A scorer of the user's own: a Python file with questions and a function that marks answers."""

import json
import re
from pathlib import Path

import pytest
from background import in_background
from mock_provider import MockProvider, write_json
from replies import Reply, whole

from evals.registry import load_data, make_eval
from gpt_oss_verify.app import run
from harness.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evals.md"
SOURCE = """
QUESTIONS = [
    {"question": f"Name {n} colours.", "count": n, "id": f"colours-{n}"} for n in (2, 4)
]

def score(question, answer):
    named = sum(colour in answer.lower() for colour in ("red", "green", "blue"))
    return min(1.0, named / question["count"])
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "my_eval.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def mock():
    async def handle(request, writer):
        write_json(writer, whole(Reply(text="Red and green."), chat=request.is_chat))

    with in_background(MockProvider(always=handle)) as running:
        yield running


def asked(mock, path, out, *more):
    place = ["--base-url", mock.base_url, "--model", "gpt-oss-20b", "--api", "chat"]
    return ["eval", *place, "--eval", str(path), "--out", str(out), *more]


def scores(folder):
    lines = (folder / "scores.jsonl").read_text().splitlines()
    return {
        (one["sample"], one["attempt"]): (one["outcome"], one["value"])
        for one in map(json.loads, lines)
    }


def test_a_function_marks_the_whole_final_text(mine):
    test = make_eval(load_data(str(mine)), 0)
    assert [question.id for question in test.questions] == ["colours-2", "colours-4"]
    assert test.prompt("colours-2", 1).messages[0].text == "Name 2 colours."
    marks = [
        test.mark("colours-4", 1, text) for text in ("Red, green", "none", " ", "REDGREENBLUE")
    ]
    assert [(mark.marking, mark.value) for mark in marks] == [
        ("graded", 0.5),
        ("wrong", 0),
        ("unread", 0),
        ("graded", 0.75),
    ]


def test_a_run_is_scored_judged_again_and_becomes_a_baseline(mine, mock, tmp_path, capsys):
    assert run(asked(mock, mine, tmp_path / "runs", "-k", "3")) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert scores(folder)["colours-2", 1] == ("correct", 1)
    assert scores(folder)["colours-4", 3] == ("graded", 0.5)
    result = json.loads((folder / "analysis.json").read_text())["results"][0]
    assert result["score"]["estimate"]["value"] == 0.75
    assert result["dataset"]["scorer"].startswith("my_eval.py (")
    assert not result["at_k"]
    mine.unlink()
    assert run(["recheck", str(folder)]) == 0
    base = tmp_path / "base.json"
    assert run(["export", str(folder), "--format", "baseline", "--out", str(base)]) == 0
    capsys.readouterr()
    assert run(["compare", str(folder), str(base), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tested"] == 1


def test_another_scorer_of_the_same_questions_is_not_compared(mine, mock, tmp_path, capsys):
    run(asked(mock, mine, tmp_path / "runs"))
    (folder,) = (tmp_path / "runs").iterdir()
    base = tmp_path / "base.json"
    assert run(["export", str(folder), "--format", "baseline", "--out", str(base)]) == 0
    mine.write_text(SOURCE.replace('"blue"', '"blue", "black"'))
    capsys.readouterr()
    run(asked(mock, mine, tmp_path / "more", "--baseline", str(base)))
    assert "by my_eval.py (" in " ".join(capsys.readouterr().out.split())
    (other,) = (tmp_path / "more").iterdir()
    assert run(["compare", str(folder), str(other), "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["tested"] == 0
    assert any(one["what"] == "scorer" for one in found["entries"][1]["differs"])


def test_a_scorer_that_fails_after_sampling_costs_no_run(mine, mock, tmp_path, capsys):
    mine.write_text(SOURCE.replace("named = ", "named = 1 // ('green' not in answer) + "))
    assert run(asked(mock, mine, tmp_path / "runs")) == 4
    (folder,) = (tmp_path / "runs").iterdir()
    out = " ".join(capsys.readouterr().out.split())
    assert "with score 0: 2" in out
    assert "scorer-my_eval.py" in out
    assert {outcome for outcome, _ in scores(folder).values()} == {"grader_error"}
    (folder / "scorer-my_eval.py").write_text(SOURCE)
    assert run(["recheck", str(folder)]) == 0
    assert scores(folder)["colours-2", 1] == ("correct", 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("QUESTIONS =", "ROWS ="), "QUESTIONS must be a list of dicts with a question"),
        (("QUESTIONS = [", "QUESTIONS = 'none.jsonl' or ["), "none.jsonl"),
        (("def score", "def mark"), "has no function score(question, answer) that marks an answer"),
        (("named / ", "named / 0 / "), "raised ZeroDivisionError: "),
        (("min(1.0, ", "max(7, "), "returned 7, not True, False or 0 to 1"),
        (("def score(", "def score)("), "cannot be run: SyntaxError"),
        (('"question":', '"text":'), "without column 'question'; its columns are 'text'"),
        (("f\"colours-{n}\"", '"same"'), "contains the question same twice"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_before_a_request_in_one_sentence(
    change, reason, mine, mock, tmp_path, capsys
):
    mine.write_text(SOURCE.replace(*change))
    assert run(asked(mock, mine, tmp_path / "runs")) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_questions_may_be_in_a_file_beside_it(mine, tmp_path):
    (tmp_path / "rows.csv").write_text("question,count\nName some colours.,2\n")
    mine.write_text(SOURCE.replace("QUESTIONS = [", "QUESTIONS = 'rows.csv'; _ = ["))
    with pytest.raises(ConfigurationError, match="unsupported operand"):
        load_data(str(mine))  # a CSV file has texts
    mine.write_text(mine.read_text().replace('question["count"]', 'int(question["count"])'))
    (row,) = load_data(str(mine)).rows
    assert row.model_dump()["count"] == "2"


def test_the_example_of_the_documentation_marks_answers():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = ROOT / "examples" / "capitals.py"
    assert path.read_text(encoding="utf-8").endswith(block)
    test = make_eval(load_data(str(path)), 0)
    first = test.questions[0].id
    texts = ('["Rome", "Paris"]', '["Paris"]', "Paris and Rome", '["Oslo"]')
    assert [test.mark(first, 1, text).value for text in texts] == [1, 0.5, 0, 0]
