"""Logs that lm_eval 0.4.13 wrote are compared, become baselines, and appear in the history.

`lm_eval/good` and `lm_eval/bad` have two runs each of the task in `lm_eval/sums.yaml`, with a mock
server: `lm_eval run --model local-chat-completions --apply_chat_template --log_samples`. Of the 12
questions, `bad` answers every second one wrongly, and `good` one in its first run. No text of
question 3 matches the first filter.
"""

import json
import shutil
from pathlib import Path

import pytest

from evals.baselines.column import baseline_column
from evals.baselines.measured import read_baseline
from gpt_oss_verify.app import run
from harness.compare.history import history_of
from harness.compare.lm_eval_log import read_lm_eval
from harness.compare.read_logs import is_log
from harness.errors import ConfigurationError

LOGS = Path(__file__).parent / "lm_eval"
GOOD, BAD = LOGS / "good", LOGS / "bad"
STRICT, FLEXIBLE = "exact_match,strict-match", "exact_match,flexible-extract"
QUESTIONS = 12


def samples(folder):
    return sorted(folder.glob("*/samples_*.jsonl"))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(GOOD, tmp_path / "copy"))


def rewrite(path, change):
    """Change each object of a JSON or JSONL file."""
    rows = lines(path) if path.suffix == ".jsonl" else [json.loads(path.read_text())]
    for row in rows:
        change(row)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_questions_are_clusters_and_the_runs_in_a_folder_are_tries():
    (log,) = read_lm_eval(GOOD)
    assert (log.task, log.model, log.api, log.effort) == (
        "sums",
        "openai/gpt-oss-20b",
        "chat",
        "default",
    )
    assert log.provider.startswith("127.0.0.1:")
    assert (log.epochs, log.complete, log.version) == (2, True, "lm_eval 0.4.13")
    assert (log.sampling.temperature, log.sampling.max_tokens) == (1.0, 2048)
    assert (log.parts, log.scores[f"sums {STRICT}"]["0"]) == ((STRICT, FLEXIBLE), (0, 1))
    assert log.scores[f"sums {STRICT}"]["3"] == (0, 0)
    assert log.scores[f"sums {FLEXIBLE}"]["3"] == (1, 1)
    assert len(log.scores[f"sums {FLEXIBLE}"]) == QUESTIONS
    assert log.tries[0].question == "user: What is 0 + 1? Reason, then write: The answer is N."
    assert log.tries[0].answer == "I add. The answer is 0."


def test_the_values_are_those_that_lm_eval_reports():
    for folder in (GOOD, BAD):
        for results in folder.glob("*/results_*.json"):
            (log,) = read_lm_eval(results)
            reported = json.loads(results.read_text())["results"]["sums"]
            for part in (STRICT, FLEXIBLE):
                values = [value for tries in log.scores[f"sums {part}"].values() for value in tries]
                assert sum(values) / len(values) == pytest.approx(reported[part])


def test_two_servers_are_compared_question_by_question_and_the_metric_is_named(tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["compare", str(GOOD), str(BAD), "--out", str(out)]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert f"The scores of sums are those of lm_eval's {STRICT} and {FLEXIBLE}." in printed
    found = json.loads((out / "compare.json").read_text())
    scores = [row for row in found["rows"] if row["section"] == "Scores"]
    assert [row["name"] for row in scores] == [
        f"sums {part}, gpt-oss-20b, default effort" for part in (STRICT, FLEXIBLE)
    ]
    for row in scores:
        # The runs of `bad` have one seed and the same replies.
        assert [cell["total"] for cell in row["cells"]] == [QUESTIONS * 2, QUESTIONS]
        assert row["differences"][1]["pairs"] == QUESTIONS
        assert row["differences"][1]["seen"] == "worse"
    assert found["answers"][0]["answers"][0]["text"].startswith("I add. The answer is")
    assert run(["compare", str(BAD), str(GOOD), "--json"]) == 0


@pytest.mark.parametrize("place", [GOOD, next(GOOD.iterdir()), *samples(GOOD)[:1]])
def test_a_log_is_a_folder_its_results_or_its_samples(place, tmp_path, capsys):
    assert is_log(place)
    base = tmp_path / "base.json"
    assert run(["export", str(place), "--format", "baseline", "--out", str(base)]) == 0
    strict, flexible = read_baseline(base).results
    assert (strict.eval, flexible.eval) == (f"sums {STRICT}", f"sums {FLEXIBLE}")
    assert strict.planned == (1 if place.is_file() else 2)
    capsys.readouterr()
    assert run(["compare", str(base), str(GOOD), "--json"]) == 0
    assert run(["compare", str(base), str(BAD), "--json"]) == (0 if place.is_file() else 1)


def test_the_history_has_a_point_for_each_run(copy, capsys):
    for folder in (copy, next(copy.iterdir())):
        assert run(["history", str(folder), "--json"]) == 0
        (line,) = json.loads(capsys.readouterr().out)["lines"]
        scores = [point["scores"] for point in line["points"]]
        assert [
            one[f"sums {FLEXIBLE}, gpt-oss-20b, default effort"]["value"] for one in scores
        ] == [
            pytest.approx(11 / 12),
            1,
        ]


def test_answers_without_a_box_are_named(copy, tmp_path, capsys):
    def boxed(row):
        row["arguments"]["gen_args_0"]["arg_0"] = ["Add 0 and 1. Put the answer in \\boxed{}."]
        row["resps"] = [[f"\\boxed{{{row['target']}}}"]]

    def unboxed(row):
        boxed(row)
        row |= {"resps": [[f"The sum is {row['target']}."]], "exact_match": 0}

    other = Path(shutil.copytree(copy, tmp_path / "other"))
    for folder, change in ((copy, boxed), (other, unboxed)):
        for path in samples(folder):
            rewrite(path, change)
    assert run(["compare", str(copy), str(other), "--out", str(tmp_path / "out")]) == 1
    assert "unboxed: 12 of" in " ".join(capsys.readouterr().out.split())


def test_the_arguments_of_the_model_may_be_a_text(copy):
    for results in copy.glob("*/results_*.json"):
        made = json.loads(results.read_text())
        args = {**made["config"]["model_args"], "seed": 7, "reasoning_effort": "low"}
        made["config"]["model_args"] = ",".join(f"{name}={args[name]}" for name in args)
        results.write_text(json.dumps(made))
    (log,) = read_lm_eval(copy)
    assert (log.effort, log.seeds) == ("low", {7})
    assert log.provider == read_lm_eval(GOOD)[0].provider


def choices(row, order):
    """Make a row one of GPQA, whose choices lm_eval shuffles."""
    texts = [f"{row['target']} m", "1 km", "2 km", "3 km"]
    shown = [texts[at] for at in order]
    row["target"] = f"({'ABCD'[order.index(0)]})"
    row["doc"] = {
        "Question": f"How far is {row['doc_id']}?",
        "Correct Answer": texts[0],
        **{f"choice{at}": text for at, text in enumerate(shown, 1)},
        "choices": shown,
        "answer": row["target"],
    }
    for name in ("doc_hash", "target_hash"):
        row[name] = f"{hash((name, *shown)):064x}"


def test_questions_are_paired_by_the_text_of_the_right_choice(copy, tmp_path):
    other, third = (Path(shutil.copytree(copy, tmp_path / name)) for name in ("other", "third"))
    for folder, order in ((copy, [0, 1, 2, 3]), (other, [2, 0, 3, 1]), (third, [2, 0, 3, 1])):
        for path in samples(folder):
            rewrite(path, lambda row, order=order: choices(row, order))
    for path in samples(third):  # where another choice is the right one
        rewrite(path, lambda row: row.update(target="(A)"))
    first, second, third = (read_lm_eval(folder)[0].contents for folder in (copy, other, third))
    assert first == second
    assert not set(first.values()) & set(third.values())
    assert len(set(first.values())) == QUESTIONS


def test_other_questions_are_not_paired(copy, capsys):
    for path in samples(copy):
        rewrite(path, lambda row: row.update(target_hash="0" * 64))
    assert run(["compare", str(GOOD), str(copy), "--json"]) == 4
    assert "the cases or data differ" in capsys.readouterr().out


def test_replies_from_the_cache_of_another_server_are_not_compared(copy, tmp_path, capsys):
    """lm_eval leaves the server out of the key of its cache."""
    other = Path(shutil.copytree(copy, tmp_path / "other"))

    def cached(folder, port, name):
        for results in folder.glob("*/results_*.json"):
            made = json.loads(results.read_text())
            made["config"]["use_cache"] = name
            made["config"]["model_args"]["base_url"] = f"http://127.0.0.1:{port}/v1"
            results.write_text(json.dumps(made))

    cached(copy, 1, "cache")
    note = "are copies of those of 127.0.0.1:1, and say nothing about this server: both used the"
    for name, copies in (("cache", True), (None, False)):
        cached(other, 2, name)
        assert run(["compare", str(copy), str(other), "--json"]) == (4 if copies else 0)
        assert (note in capsys.readouterr().out) == copies


def test_a_question_of_gpqa_is_not_shown(copy, tmp_path):
    for path in copy.glob("*/results_*.json"):
        rewrite(path, lambda made: made["configs"]["sums"].update(dataset_path="Idavidrein/gpqa"))
    out = tmp_path / "out"
    run(["compare", str(copy), str(BAD), "--out", str(out)])
    assert not json.loads((out / "compare.json").read_text())["answers"]


@pytest.mark.parametrize(
    ("reply", "copied", "of"),
    [
        (
            lambda doc, run: f"{doc}",
            1,
            "a short reply, in all questions",
        ),
        (lambda doc, run: f"{doc} {run * (doc % 3)} {'because ' * 70}", 1 / 3, "a long reply"),
        (lambda doc, run: f"It is {doc}." if doc else f"{run}", 0, "short, and not in all"),
    ],
)
def test_copies_count_once(copy, capsys, reply, copied, of):
    for run_number, path in enumerate(samples(copy)):
        rewrite(path, lambda row: row.update(resps=[[reply(row["doc_id"], run_number)]]))  # noqa: B023
    column, copies = baseline_column(str(copy)), int(QUESTIONS * copied)
    assert len(column.tries) == 2 * (2 * QUESTIONS - copies), of
    assert any("of another try" in note for note in column.entry.notes) == (copies > 0)
    base = copy / "base.json"
    assert run(["export", str(copy), "--format", "baseline", "--out", str(base)]) == 0
    assert {one.copies for one in read_baseline(base).results} == {copies}
    assert run(["compare", str(base), str(copy), "--json"]) == 0


def test_a_comparison_says_first_that_it_is_worse_and_why(tmp_path, capsys):
    bad = Path(shutil.copytree(BAD, tmp_path / "bad"))

    def change(row):
        prompt, settings = row["arguments"]["gen_args_0"].values()
        prompt[0] = prompt[0].replace("Reason, then write", "Write")
        settings["until"] = ["</s>", "###"]
        row.update(resps=row["resps"] if row["exact_match"] else [[""]])

    for path in samples(bad):
        rewrite(path, change)
    out = tmp_path / "out"
    assert run(["compare", str(GOOD), str(bad), "--out", str(out)]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith("✕ WORSE beyond chance good log · openai/gpt-oss-20b")
    assert "bad WORSE log · openai/gpt-oss-20b" in printed
    assert "Settings differ: until '</s>', '###' (reference: '</s>'), prompt " in printed
    assert "empty answer: 6 of 12 tries, 0 of 24 in the reference." in printed
    assert '<span class="decision fail">WORSE</span>' in (out / "compare.html").read_text("utf-8")
    assert run(["compare", str(bad), str(GOOD), "--out", str(out)]) == 0
    assert "No worsening beyond chance" in capsys.readouterr().out


def test_an_unfinished_run_says_so(copy):
    path = samples(copy)[0]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in lines(path) if row["doc_id"] != 4))
    assert (
        "The eval of this log is not finished, or was invalidated."
        in baseline_column(str(path)).entry.notes
    )


def change_samples(**fields):
    def change(copy):
        for path in samples(copy)[:1]:
            rewrite(path, lambda row: row.update(fields))

    return change


def change_results(name, value):
    def change(copy):
        rewrite(sorted(copy.glob("*/results_*.json"))[0], lambda made: made.update({name: value}))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda copy: samples(copy)[0].unlink(), "has no samples beside it; run lm_eval again wit"),
        (lambda copy: sorted(copy.glob("*/results_*"))[0].write_text("{"), "cannot be read as a l"),
        (
            lambda copy: samples(copy)[0].write_text(""),
            "cannot be read as a log of lm_eval|no metr",
        ),
        (
            change_results("model_name", "other"),
            "the runs of sums differ in model, such as samples",
        ),
        (change_samples(exact_match=80), "has no metric whose values are numbers of at most 1"),
        (change_results("higher_is_better", {"sums": {"exact_match": False}}), "has no metric who"),
        (change_samples(metrics=["none"]), "cannot be read as a log of lm_eval .KeyError: 'none'"),
    ],
)
def test_a_damaged_log_is_refused_in_a_sentence(copy, change, reason):
    change(copy)
    with pytest.raises(ConfigurationError, match=reason) as refused:
        read_lm_eval(copy)
    assert "\n" not in str(refused.value)


def test_samples_without_their_results_are_refused(copy):
    path = samples(copy)[0]
    next(copy.glob(f"*/results_{path.stem.rpartition('_')[2]}.json")).unlink()
    with pytest.raises(ConfigurationError, match=r"results_.* is missing: it names the model of"):
        read_lm_eval(path)


def test_a_history_of_a_parent_of_folders_of_lm_eval_has_their_runs(tmp_path):
    shutil.copytree(GOOD, tmp_path / "nights" / "monday")
    there = [
        point.place for line in history_of(tmp_path / "nights", None).lines for point in line.points
    ]
    inside = history_of(tmp_path / "nights" / "monday", None)
    assert there == [point.place for line in inside.lines for point in line.points]
    assert there


def test_recheck_of_a_log_names_the_command_that_reads_it(capsys):
    assert run(["recheck", str(GOOD)]) == 2
    assert f"gpt-oss-verify compare {GOOD} RUN" in capsys.readouterr().err
