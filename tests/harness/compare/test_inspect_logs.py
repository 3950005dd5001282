"""Logs that inspect_ai wrote are compared, become baselines, and appear in the history."""

import json
import shutil
import warnings
from pathlib import Path

import pytest

from evals.baselines.column import baseline_column
from evals.baselines.measured import read_baseline
from gpt_oss_verify.app import run
from harness.compare.inspect_log import is_inspect_log, read_inspect_log
from harness.errors import ConfigurationError

# inspect_ai leaves streams of anyio to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
QUESTIONS = 12
EPOCHS = 4


def evaluated(folder, wrong, form):
    """Let inspect_ai ask a mock model, which is wrong in some tries; return the file of the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from inspect_ai import Task
        from inspect_ai import eval as evaluate
        from inspect_ai.dataset import Sample
        from inspect_ai.model import ModelOutput, ModelUsage, get_model
        from inspect_ai.scorer import match

        texts = {}

        def reply(messages, *_):
            asked = messages[-1].text
            number = int(asked.split()[2])
            texts[asked] = texts.get(asked, 0) + 1
            right = not wrong(number, texts[asked])
            said = f"I add.\n{number + 1 if right else number}"
            output = ModelOutput.from_content("mockllm/model", said)
            output.usage = ModelUsage(input_tokens=9, output_tokens=4, total_tokens=13)
            return output

        samples = [
            Sample(f"What is {n} + 1?", target=str(n + 1), id=f"q{n}") for n in range(QUESTIONS)
        ]
        (log,) = evaluate(
            Task(samples, scorer=match(), name="sums"),
            model=get_model("mockllm/gpt-oss-20b", custom_outputs=reply, memoize=False),
            epochs=EPOCHS,
            log_dir=str(folder),
            log_format=form,
            display="none",
            temperature=1.0,
            max_samples=1,
        )
    assert log.status == "success"
    (path,) = folder.glob(f"*.{form}")
    return path


def evaluated_again(folder, reply, **options):
    """Let inspect_ai ask questions with choices of a task with its own settings; the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from inspect_ai import Task
        from inspect_ai import eval as evaluate
        from inspect_ai.dataset import MemoryDataset, Sample
        from inspect_ai.model import GenerateConfig, get_model
        from inspect_ai.scorer import choice
        from inspect_ai.solver import multiple_choice

        samples = MemoryDataset(
            [Sample(f"Which is {n}?", [str(n), "x", "y"], "A", id=n) for n in range(4)]
        )
        samples.shuffle_choices(options.pop("shuffle"))
        (log,) = evaluate(
            Task(
                samples,
                solver=multiple_choice(),
                scorer=choice(),
                name="own",
                config=GenerateConfig(temperature=0, seed=42, reasoning_effort="high"),
            ),
            model=get_model("mockllm/gpt-oss-20b", custom_outputs=reply, memoize=False),
            log_dir=str(folder),
            display="none",
            max_samples=1,
            **options,
        )
    assert log.status == "success"
    (path,) = folder.glob("*.eval")
    return read_inspect_log(path)


def answers_a(messages, *_):
    from inspect_ai.model import ModelOutput, ModelUsage

    output = ModelOutput.from_content("mockllm/model", "ANSWER: A")
    output.usage = ModelUsage(input_tokens=9, output_tokens=4, total_tokens=13)
    return output


def test_settings_of_the_task_are_read_and_an_option_goes_before_them(tmp_path):
    log = evaluated_again(tmp_path / "a", answers_a, shuffle=1)
    assert (log.sampling.temperature, log.seeds, log.effort) == (0, {42}, "high")
    log = evaluated_again(tmp_path / "b", answers_a, shuffle=1, temperature=0.5)
    assert (log.sampling.temperature, log.seeds, log.effort) == (0.5, {42}, "high")


def test_choices_in_another_order_are_paired(tmp_path):
    first, second = (
        evaluated_again(tmp_path / str(seed), answers_a, shuffle=seed) for seed in (1, 2)
    )
    assert [t.target for t in first.tries] != [t.target for t in second.tries]
    assert first.contents == second.contents
    assert len(set(first.contents.values())) == 4


@pytest.mark.parametrize("scored", [False, True])
def test_samples_with_errors_count_as_failed_and_have_no_answer(scored, tmp_path):
    def reply(messages, *_):
        if "Which is 2?" in messages[-1].text:
            raise RuntimeError("503 A is overloaded")
        return answers_a(messages)

    log = evaluated_again(tmp_path, reply, shuffle=1, fail_on_error=False, score_on_error=scored)
    (lost,) = [tried for tried in log.tries if tried.stop == "provider_error"]
    assert (lost.sample, lost.answer, dict(lost.values)) == ("2", "", {"": 0.0})
    assert len(log.scores["own"]) == 4
    assert "1 of 4" in log.failed


def test_tokens_of_a_judge_and_counts_in_a_score_are_left_out(good, tmp_path):
    path = log_as_json(good, tmp_path)
    text = json.loads(path.read_text())
    for sample in text["samples"]:
        usage = sample["model_usage"]["mockllm/gpt-oss-20b"]
        sample["model_usage"]["openai/judge"] = {**usage, "output_tokens": 5000}
        value = {"healthbench_score": -0.25, "criteria_met": 3, "_crit_0_met": 1.0}
        sample["scores"]["match"]["value"] = value
    path.write_text(json.dumps(text))
    log = read_inspect_log(path)
    assert {tried.tokens for tried in log.tries} == {4}
    assert log.parts == ("healthbench_score",)
    assert {tried.values["healthbench_score"] for tried in log.tries} == {-0.25}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return evaluated(tmp_path_factory.mktemp("good"), lambda n, nth: n == 0 and nth == 1, "eval")


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    return evaluated(tmp_path_factory.mktemp("bad"), lambda n, _: n % 2 == 1, "json")


def test_samples_are_clusters_of_epochs(good):
    log = read_inspect_log(good)
    assert (log.task, log.provider, log.model) == ("sums", "mockllm", "gpt-oss-20b")
    assert (log.epochs, log.complete, len(log.tries)) == (EPOCHS, True, QUESTIONS * EPOCHS)
    assert sorted(log.scores["sums"]["q0"]) == [0.0, 1.0, 1.0, 1.0]
    assert log.scores["sums"]["q1"] == (1.0,) * EPOCHS
    column = baseline_column(str(good))
    assert (column.entry.kind, len(column.tries)) == ("log", QUESTIONS * EPOCHS)
    assert len(set(column.tries["content"])) == QUESTIONS


def test_two_logs_are_compared_question_by_question(good, bad, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["compare", str(good), str(bad), "--out", str(out)]) == 1
    assert "sums, gpt-oss-20b, default effort" in capsys.readouterr().out
    found = json.loads((out / "compare.json").read_text())
    (score,) = [row for row in found["rows"] if row["section"] == "Scores"]
    assert [cell["total"] for cell in score["cells"]] == [QUESTIONS * EPOCHS] * 2
    assert score["differences"][1]["pairs"] == QUESTIONS
    assert score["differences"][1]["seen"] == "worse"
    assert run(["compare", str(bad), str(good), "--out", str(tmp_path / "back")]) == 0


def test_answers_to_one_question_are_side_by_side(good, bad, tmp_path):
    out = tmp_path / "out"
    run(["compare", str(good), str(bad), "--out", str(out)])
    first, *_, last = json.loads((out / "compare.json").read_text())["answers"]
    number = int(first["sample"][1:])
    assert first["question"] == f"What is {number} + 1?"
    assert [answer["text"] for answer in first["answers"]] == [
        f"I add.\n{number + 1}",
        f"I add.\n{number}",
    ]
    assert [answer["value"] for answer in first["answers"]] == [1, 0]
    assert last["answers"][0]["value"] == last["answers"][1]["value"] == 1
    page = (out / "compare.html").read_text()
    assert '<section id="answers"' in page
    assert page.count('<details class="answered"') == QUESTIONS


def test_a_log_becomes_a_baseline_for_another_log(good, bad, tmp_path, capsys):
    base = tmp_path / "base.json"
    assert run(["export", str(good), "--format", "baseline", "--out", str(base)]) == 0
    (scores,) = read_baseline(base).results
    assert (scores.eval, scores.planned, len(scores.contents)) == ("sums", EPOCHS, QUESTIONS)
    assert not is_inspect_log(base)
    capsys.readouterr()
    assert run(["compare", str(base), str(bad), "--json"]) == 1
    assert run(["compare", str(base), str(good), "--json"]) == 0
    capsys.readouterr()
    assert run(["compare", "range", str(good), "--json"]) == 4
    notes = json.loads(capsys.readouterr().out)["entries"][1]["notes"]
    assert any("not compared" in note for note in notes)


def test_the_history_has_logs_beside_runs(good, bad, tmp_path, capsys):
    for path in (good, bad):
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "broken.eval").write_bytes(b"no zip")
    assert run(["history", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (line,) = found["lines"]
    assert line["provider"] == "mockllm"
    times = [point["started_at"] for point in line["points"]]
    assert times == sorted(times)
    scores = [
        point["scores"]["sums, gpt-oss-20b, default effort"]["value"] for point in line["points"]
    ]
    assert sorted(scores) == [0.5, pytest.approx(1 - 1 / QUESTIONS / EPOCHS)]
    assert len(found["unread"]) == 1
    assert "broken.eval" in found["unread"][0]


def test_a_log_of_other_questions_is_not_paired(good, tmp_path, capsys):
    text = json.loads(log_as_json(good, tmp_path).read_text())
    for sample in text["samples"]:
        sample["target"] = "none"
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(text))
    assert run(["compare", str(good), str(changed), "--json"]) == 4
    assert "the cases or data differ" in capsys.readouterr().out


def log_as_json(path, folder):
    from inspect_ai.log import read_eval_log, write_eval_log

    write_eval_log(read_eval_log(str(path)), str(folder / "log.json"), format="json")
    return folder / "log.json"


def test_each_part_of_a_score_is_an_eval(good, tmp_path, capsys):
    path = log_as_json(good, tmp_path)
    text = json.loads(path.read_text())
    for sample in text["samples"]:
        value = sample["scores"]["match"]["value"]
        sample["scores"]["match"]["value"] = {"useful": value, "safe": "C"}
    path.write_text(json.dumps(text))
    assert run(["compare", str(path), str(path.parent / "x"), "--json"]) == 2
    base = tmp_path / "b.json"
    assert run(["export", str(path), "--format", "baseline", "--out", str(base)]) == 0
    assert [scores.eval for scores in read_baseline(base).results] == ["sums useful", "sums safe"]
    capsys.readouterr()
    assert run(["compare", str(base), str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    scored = [row for row in rows if row["section"] == "Scores"]
    assert [row["cells"][1]["value"] for row in scored] == [
        pytest.approx(1 - 1 / QUESTIONS / EPOCHS),
        1,
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: one.update(value={"a": "x"}), "is x; scores must be C, P, I or numbers"),
        (lambda one: one.update(value="perhaps"), "is perhaps; scores must be"),
        (lambda one: one.update(value=80), "is 80; scores must be"),
    ],
)
def test_scores_that_are_no_shares_are_refused_in_a_sentence(good, tmp_path, change, reason):
    path = log_as_json(good, tmp_path)
    text = json.loads(path.read_text())
    for sample in text["samples"]:
        change(sample["scores"]["match"])
    path.write_text(json.dumps(text))
    with pytest.raises(ConfigurationError, match=reason) as refused:
        read_inspect_log(path)
    assert "\n" not in str(refused.value)


def test_tries_without_a_score_are_missing(good, tmp_path, capsys):
    path = log_as_json(good, tmp_path)
    text = json.loads(path.read_text())
    del text["samples"][0]["scores"]
    path.write_text(json.dumps(text))
    assert baseline_column(str(path)).entry.notes == (
        "The scores of sums are those of the scorer match.",
        f"1 of {QUESTIONS * EPOCHS} tries have no score.",
    )
    assert run(["export", str(path), "--format", "baseline", "--out", str(tmp_path / "b")]) == 2
    assert "planned attempts (1)" in capsys.readouterr().err


def test_samples_that_a_user_marked_invalid_are_missing(good, bad, tmp_path, capsys):
    from inspect_ai.log import ProvenanceData, invalidate_samples, read_eval_log, write_eval_log

    log = read_eval_log(str(bad))
    wrong = [each.uuid for each in log.samples if each.scores["match"].value == "I"]
    why = ProvenanceData(author="me", reason="the server was down")
    path = tmp_path / "marked.json"
    write_eval_log(invalidate_samples(log, wrong, why), str(path), format="json")
    assert run(["compare", str(good), str(path), "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)["entries"][1]
    assert entry["complete"]
    marked = f"{len(wrong)} of {QUESTIONS * EPOCHS} samples were marked invalid and do not count"
    assert f"{marked}: {len(wrong)} × the server was down (me)." in entry["notes"]
    write_eval_log(invalidate_samples(log, "all", why), str(path), format="json")
    with pytest.raises(ConfigurationError, match="has no valid samples: all were marked invalid"):
        read_inspect_log(path)


def test_failed_requests_of_an_export_of_nemo_evaluator_are_failed():
    log = read_inspect_log(Path(__file__).with_name("nemo_evaluator.json"))
    found = [(tried.stop, tried.values[""], log.outcome(tried)) for tried in log.tries]
    assert found == [
        (None, 0.0, "empty answer"), (None, 1.0, "answered"), (None, 1.0, "answered"),
        ("provider_error", 0.0, "provider_error"),
    ]  # fmt: skip
    assert {tried.tokens for tried in log.tries} == {0}
    assert "an empty answer may be a cut one" in log.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ('"match"', '"lighteval/math_scorer"', r"counts `\boxed{025}` for 025"),
        ('"model_args": {', '"model_args": {"responses_api": true, ', "lacks its CoT after each"),
        ("", "", None),
    ],
)
def test_what_a_harness_loses_is_said(good, tmp_path, old, new, note):
    path = log_as_json(good, tmp_path)
    text = json.dumps(json.loads(path.read_text()))
    result = {"role": "tool", "content": "sunny", "tool_call_id": "1"}
    text = text.replace('"messages": [', f'"messages": [{json.dumps(result)}, ', 1)
    path.write_text(text.replace(old, new) if old else text)
    notes = read_inspect_log(path).notes
    assert (len(notes), note is None or note in notes[0]) == (int(note is not None), True)


def test_without_inspect_ai_the_extra_is_named(good, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "inspect_ai.log", None)
    assert run(["compare", str(good), str(good.parent / "x"), "--json"]) == 2
    assert "[inspect]" in capsys.readouterr().err
