"""Files of a user's own questions."""

import json

import pytest

from evals.questions import own_name
from evals.registry import load_data, make_eval
from evals.restoring import read_questions
from gpt_oss_verify.app import run
from harness.errors import ConfigurationError

CHOICES = ["oxygen", "carbon dioxide", "helium", "argon"]
ROWS = [
    {"question": "What is 17 · 24?", "answer": 408},
    {"question": "Which gas do plants take in?", "answer": CHOICES[1], "choices": CHOICES},
    {"question": "And which one do we?", "answer": "A", "choices": CHOICES, "id": "we"},
    {"question": "q", "answer": "D", "choices": CHOICES, "prompt": "Say it: A, B, C or D?"},
]


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "my questions.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return path


def test_the_file_names_the_eval():
    assert own_name("some/my questions.jsonl") == "my-questions"
    assert own_name("hf:owner/name@main") == "name"
    assert own_name("aime25") is None


def test_integers_and_choices_are_asked_and_marked(mine):
    test = make_eval(load_data(str(mine)), seed=1)
    number, gas, we, verbatim = (question.id for question in test.questions)
    assert (test.name, we) == ("my-questions", "we")
    assert "boxed" in test.prompt(number, 1).messages[0].text
    assert test.mark(number, 1, r"\boxed{408}").marking == "correct"
    orders = {test.prompt(gas, attempt).order for attempt in range(1, 9)}
    assert len(orders) > 1
    for attempt in range(1, 9):
        right = test.key(gas, attempt)
        assert f"({right}) carbon dioxide" in test.prompt(gas, attempt).messages[0].text
        assert test.mark(gas, attempt, f"Answer: {right}").marking == "correct"
        assert test.mark(gas, attempt, "carbon dioxide").marking == "correct"
    assert test.prompt(verbatim, 3).messages[0].text == ROWS[3]["prompt"]
    assert test.key(verbatim, 3) == "D"
    assert test.mark(verbatim, 3, "Answer: C").marking == "wrong"


def test_csv_and_the_columns_of_gpqa(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("question,answer,choices\nGas?,helium,oxygen|helium|argon|neon\nSum?,7,\n")
    gpqa = tmp_path / "four.csv"
    gpqa.write_text(
        "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3\n"
        "Gas?,helium,oxygen,argon,neon\n"
    )
    first, second = make_eval(load_data(str(table)), seed=0).questions
    assert make_eval(load_data(str(table)), seed=0).key(second.id, 1) == "7"
    assert (first.text, second.text) == ("Gas?", "Sum?")
    (row,) = load_data(str(gpqa)).rows
    assert (row.item().answer, len(row.choices)) == ("helium", 4)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"question": "q"}, "line 2: column 'answer'"),
        ({"answer": 1}, "line 2: column 'question'"),
        ({"question": "q", "answer": "seven"}, "the answer 'seven' is no integer"),
        ({"question": "q", "answer": "A", "choices": ["x", "y"]}, "four different choices, not 2"),
        ({"question": "q", "answer": "z", "choices": list("wxyv")}, "neither a choice nor its"),
    ],
)
def test_a_wrong_row_is_named_with_its_line_and_column(row, wanted, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{json.dumps(ROWS[0])}\n{json.dumps(row)}\n")
    with pytest.raises(ConfigurationError) as refused:
        load_data(str(path))
    assert wanted in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_with_the_name_of_an_eval_and_a_missing_file_are_refused(tmp_path, capsys):
    for spec, wanted in (("aime25.csv", "rename the file"), ("none.jsonl", "none.jsonl")):
        assert run(["eval", "-p", "reference", "--eval", str(tmp_path / spec), "--dry-run"]) == 2
        assert wanted in capsys.readouterr().err


def test_ten_questions_run_resume_and_become_a_baseline(mine, mock, tmp_path, capsys):
    place = ["--base-url", mock.base_url, "--model", "gpt-oss-20b", "--api", "chat"]
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(10)]
    mine.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked = ["eval", *place, "--eval", str(mine), "--out", str(tmp_path / "runs")]
    assert run([*asked, "-k", "2"]) in {0, 1, 4}
    (folder,) = (tmp_path / "runs").iterdir()
    info = json.loads((folder / "run.json").read_text())
    assert [task["name"] for task in info["tasks"]] == ["my-questions"]
    assert run(["recheck", str(folder)]) in {0, 1, 4}
    assert run(["export", str(folder), "--format", "csv", "--out", str(tmp_path / "csv")]) == 0
    base = tmp_path / "base.json"
    assert run(["export", str(folder), "--format", "baseline", "--out", str(base)]) == 0
    capsys.readouterr()
    assert run([*asked, "-k", "2", "--baseline", str(base)]) in {0, 4}
    assert "my-questions" in capsys.readouterr().out


def test_the_rows_of_a_run_are_read_back(mine, tmp_path):
    data = load_data(str(mine))
    path = tmp_path / "questions-my-questions.jsonl"
    path.write_text("".join(f"{row.model_dump_json(by_alias=True)}\n" for row in data.rows))
    assert read_questions(tmp_path, data.info).rows == data.rows


def test_a_dry_run_does_not_need_the_key_of_the_grader(mock, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    place = ["--base-url", mock.base_url, "--model", "gpt-oss-20b", "--api", "chat", "--dry-run"]
    assert run(["eval", *place, "--eval", "basic,healthbench"]) == 2  # the data are on the hub
    assert "OPENAI_API_KEY" not in capsys.readouterr().err
