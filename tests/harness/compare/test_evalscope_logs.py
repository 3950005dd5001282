"""Folders of evalscope and sgl-eval are compared, become baselines, and appear in the history.

The folders have the members that evalscope 1.14.1 and sgl-eval 0.1.3 write, and that are read.
"""

import json
from pathlib import Path

import pytest

from evals.baselines.column import baseline_column
from evals.baselines.measured import read_baseline
from gpt_oss_verify.app import run
from harness.compare.eval_log import question_hash
from harness.compare.read_logs import read_logs

QUESTIONS, REPEATS = 12, 4


def right(question, repeat):
    return (question + repeat) % 4 != 0


def wrong(question, repeat):
    return right(question, repeat) and question % 2 == 0


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def said(question, repeat, answer):
    """A reply; no two are equal by chance."""
    words = " ".join(f"step{(question * 31 + repeat * 17 + n) % 97}" for n in range(9))
    return f"{words}: \\boxed{{{answer}}}"


def evalscope(  # each option is one difference
    folder,
    solves=right,
    *,
    reply=said,
    stops=lambda question, repeat: "stop",
    lost=frozenset(),
    newer=True,
    stopped=False,
    port=1,
    **generation,
):
    config = {
        "evalscope_version": "1.14.1",
        "model": "gpt-oss-20b",
        "api_url": f"http://127.0.0.1:{port}/v1",
        "datasets": ["aime", "aime25"],
        "repeats": REPEATS,
        "generation_config": {"batch_size": 4, **generation},
    }
    write(folder / "configs" / "task_config.yaml", config)
    every = [(q, r) for q in range(QUESTIONS) for r in range(REPEATS)]
    made = [pair for pair in every if pair not in lost]
    reviews, predictions = [], []
    for at, (q, r) in reversed(list(enumerate(every))):  # in order of completion
        if (q, r) not in made:
            continue
        answer = q + 1 if solves(q, r) else 0
        content = [{"type": "reasoning", "reasoning": "Add."}]
        text = f"{reply(q, r, answer)} {folder.name}"  # no two servers say the same
        content += [{"type": "text", "text": text, "refusal": None}]
        asked = {"role": "user", "content": f"What is {q} + 1?"}
        score = {"value": {"acc": float(solves(q, r))}, "main_score_name": None}
        place = {"sample_id": at, "group_id": q, **({"generation_index": r} if newer else {})}
        reviews.append(
            {
                "index": at,
                "target": [str(q + 1)],
                "messages": [asked, {"role": "assistant", "content": content}],
                "sample_score": {"score": score, **place},
            }
        )
        choice = {"message": {"content": content}, "stop_reason": stops(q, r)}
        output = {"choices": [choice], "usage": {"output_tokens": 9}, "time": 0.5}
        predictions.append({"index": at, "model_output": output})
    name = "aime25_default.jsonl"
    write(folder / "predictions" / "m" / name, *predictions)
    write(folder / "reviews" / "m" / name, *reviews)
    errored = 0 if stopped else len(lost)
    counts = {"requested": len(every), "succeeded": len(made), "errored": errored}
    summary = {**counts, "incomplete": len(made) < len(every), "subsets": {"default": counts}}
    write(
        folder / "reports" / "m" / "aime25.json", {"num": len(made), "execution_summary": summary}
    )
    return folder


def sgl_eval(folder, solves=right, *, stops=lambda question, repeat: "stop", partial=False):
    gen = {"temperature": 1.0, "seed": None, "reasoning_effort": "high"}
    made = {"name": "gsm8k", "num_examples": QUESTIONS, "n_repeats": REPEATS, "partial": partial}
    made |= {"model": "openai/gpt-oss-20b", "base_url": "http://127.0.0.1:2/v1", "gen": gen}
    write(folder / "metrics.json", made)
    for r in range(REPEATS):
        rows = [
            {
                "id": q,
                "problem": f"What is {q} + 1?",
                "expected_answer": str(q + 1),
                "symbolic_correct": solves(q, r),
                "generation": f"{said(q, r, q + 1)} {folder.name}",
                "finish_reason": stops(q, r),
                "num_generated_tokens": 9,
            }
            for q in range(QUESTIONS)
        ]
        write(folder / f"output-rs{r}.jsonl", *rows)
    return folder


def compared(capsys, *folders):
    return run(["compare", *map(str, folders), "--json"]), json.loads(capsys.readouterr().out)


def test_questions_are_clusters_and_repeats_are_tries(tmp_path):
    for newer in (True, False):
        folder = evalscope(tmp_path / str(newer) / "20261128_083000", newer=newer, temperature=1)
        (log,) = read_logs(folder)
        assert (log.task, log.provider, log.model, log.epochs) == (
            "aime25",
            "127.0.0.1:1",
            "gpt-oss-20b",
            REPEATS,
        )
        assert log.started_at.startswith("2026-11-28T08:30:00")
        assert log.scores["aime25"]["default 1"] == (1, 1, 1, 0)
        assert (log.tries[0].question, log.tries[0].target) == ("What is 0 + 1?", "1")
        assert len(set(log.contents.values())) == QUESTIONS


@pytest.mark.parametrize("make", [evalscope, sgl_eval])
def test_a_worse_server_is_worse_by_the_paired_interval(make, tmp_path, capsys):
    code, found = compared(capsys, make(tmp_path / "a"), make(tmp_path / "b", wrong))
    (score,) = [row for row in found["rows"] if row["section"] == "Scores"]
    difference = score["differences"][1]
    assert (code, difference["seen"], difference["pairs"]) == (1, "worse", QUESTIONS)
    assert difference["value"] == pytest.approx(-0.375)
    assert run(["compare", str(tmp_path / "b"), str(tmp_path / "a"), "--json"]) == 0


@pytest.mark.parametrize(
    ("generation", "reply"),
    [
        ({"seed": 42, "temperature": 1}, lambda q, r, answer: said(q, 0, answer)),
        ({"temperature": 0}, lambda q, r, answer: said(q, 0, answer)),
        ({}, lambda q, r, answer: said(q, 0, answer)),
        ({"temperature": 1}, lambda q, r, answer: said(q, 0, answer) + " and so on" * 60),
    ],
    ids=["seed", "greedy", "empty generation_config", "equal texts"],
)
def test_repeats_that_are_copies_count_once(generation, reply, tmp_path):
    def solves(question, repeat):
        return question % 3 > 0

    folder = evalscope(tmp_path / "a", solves, reply=reply, **generation)
    (log,) = read_logs(folder)
    assert log.copies == QUESTIONS * (REPEATS - 1)
    assert {len(scores) for scores in log.scores["aime25"].values()} == {1}
    assert any("copies of" in note for note in baseline_column(str(folder)).entry.notes)


def test_independent_repeats_are_no_copies(tmp_path):
    assert not read_logs(evalscope(tmp_path, temperature=1))[0].copies


@pytest.mark.parametrize("make", [evalscope, sgl_eval])
def test_what_ended_the_replies_stands_before_the_score(make, tmp_path, capsys):
    cut = make(
        tmp_path / "b",
        wrong,
        stops=lambda q, r: ("max_tokens" if make is evalscope else "length") if q % 2 else "stop",
    )
    assert run(["compare", str(make(tmp_path / "a")), str(cut), "--out", str(tmp_path / "o")]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    cause = "truncated: 24 of 48 tries, 0 of 48 in the reference"
    assert 0 < printed.index(cause) < printed.index("is significantly worse")


@pytest.mark.parametrize("text", ["analysisWe add.assistantfinal7", "I’m sorry, but I can’t help."])
def test_markers_without_tags_and_refusals_are_named(text, tmp_path):
    (log,) = read_logs(evalscope(tmp_path, reply=lambda q, r, answer: f"{text} {q} {r}"))
    named = {log.outcome(tried) for tried in log.tries}
    assert named == {"raw harmony text" if "final" in text else "refused"}


def test_requests_without_a_reply_count_as_failed_and_both_figures_are_shown(tmp_path, capsys):
    lost = {(0, 1), (0, 2), *((5, repeat) for repeat in range(REPEATS))}
    folder = evalscope(tmp_path / "b", lost=frozenset(lost), temperature=1)
    (log,) = read_logs(folder)
    assert len(log.tries) == QUESTIONS * REPEATS
    assert log.scores["aime25"]["default 0"] == (0, 0, 0, 1)
    assert log.scores["aime25"]["default 5"] == (0,) * REPEATS
    _, found = compared(capsys, evalscope(tmp_path / "a", temperature=1), folder)
    (score,) = [row for row in found["rows"] if row["section"] == "Scores"]
    assert score["differences"][1]["pairs"] == QUESTIONS
    assert (
        "6 of 48 requests of aime25 got no reply and count as failed: 64.6% of the tries are right,"
        " 73.8% of those with a reply."
    ) in found["entries"][1]["notes"]


def test_choices_in_another_order_are_the_same_question():
    first = "What is it?\nA) ice\nB) snow\n  of hail\nC) rain\nAnswer with a letter."
    other = "What is it?\nA) rain\nB) ice\nC) snow\n  of hail\nAnswer with a letter."
    bracketed = "What is it?\n(A) snow\n  of hail\n(B) rain\n(C) ice\nAnswer with a letter."
    assert question_hash(first, "B") == question_hash(other, "C") == question_hash(bracketed, "(A)")
    assert question_hash(first, "B") != question_hash(other, "B")
    assert question_hash("A is 1 and B is 2.", "A") != question_hash("B is 2 and A is 1.", "A")
    assert question_hash("A. Smith counts.\nHow many?", "A") != question_hash("How many?", "A")


def cached(question, repeat, answer):
    return said(question, 0, answer) + f" {'because' * 70} {question} {repeat}"


@pytest.mark.parametrize(
    ("place", "generation", "copies"),
    [
        ("b/log", {"temperature": 1}, True),
        ("b/log", {"temperature": 0.6, "seed": 7}, False),
        ("b/log", {"temperature": 0}, False),
        ("b/other", {"temperature": 1}, False),
    ],
    ids=["cache", "one seed", "greedy", "own replies"],
)
def test_the_replies_of_another_server_are_not_compared(
    place, generation, copies, tmp_path, capsys
):
    trusted = evalscope(tmp_path / "a" / "log", reply=cached, **generation)
    suspect = evalscope(tmp_path / place, reply=cached, port=2, **generation)
    code, found = compared(capsys, trusted, suspect)
    assert code == (4 if copies else 0)
    notes = " ".join(found["entries"][1]["notes"])
    assert ("48 of 48 replies of aime25 are copies of those of 127.0.0.1:1" in notes) == copies
    assert ("word for word" in notes) == (generation["temperature"] != 1)
    assert run(["compare", str(trusted), str(suspect), "--out", str(tmp_path / "out")]) == code
    printed = capsys.readouterr().out
    assert ("No worsening" in printed) == (not copies)
    assert ("No change" in printed) == (not copies)
    assert ("Nothing of 127.0.0.1:2 could be compared" in printed) == copies


def test_only_the_replies_that_are_copies_are_left_out(tmp_path, capsys):
    def half(question, repeat, answer):
        own = cached(question, repeat, answer)
        return own if question % 2 else own.replace("because", "since")

    trusted = evalscope(tmp_path / "a" / "log", reply=cached, temperature=1)
    suspect = evalscope(tmp_path / "b" / "log", reply=half, port=2, temperature=1)
    code, found = compared(capsys, trusted, suspect)
    assert code == 0
    assert "24 of 48" in " ".join(found["entries"][1]["notes"])
    (score,) = [row for row in found["rows"] if row["section"] == "Scores"]
    assert score["differences"][1]["pairs"] == QUESTIONS / 2


def test_short_replies_that_agree_by_chance_are_no_copies(tmp_path, capsys):
    trusted, suspect = (
        evalscope(tmp_path / name / "log", reply=lambda q, r, answer: "A", temperature=1)
        for name in ("a", "b")
    )
    assert compared(capsys, trusted, suspect)[0] == 0


def changed(folder, change):
    """A folder with a change of one row of its reviews."""
    evalscope(folder, temperature=1)
    (reviews,) = folder.glob("reviews/m/*")
    write(reviews, *change([json.loads(line) for line in reviews.read_text().splitlines()]))
    return folder


def test_a_row_of_a_rerun_replaces_the_first_and_an_excluded_score_is_missing(tmp_path):
    def change(rows):
        again = json.loads(json.dumps(rows[0]))
        again["sample_score"]["score"]["value"] = {}
        return [*rows, again]

    (log,) = read_logs(changed(tmp_path, change))
    assert len(log.tries) == QUESTIONS * REPEATS
    assert [tried.values for tried in log.tries].count({}) == 1


def too_high(folder):
    def change(rows):
        rows[3]["sample_score"]["score"]["value"] = {"bleu": 37.2}
        return rows

    return changed(folder, change)


def killed(folder):
    evalscope(folder)
    (reviews,) = folder.glob("reviews/m/*")
    reviews.rename(f"{reviews}.rerun-92")
    return folder


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (killed, "was stopped before the end; finish the run with --use-cache"),
        (
            lambda folder: evalscope(folder, lost=frozenset({(3, 1)}), stopped=True),
            "was stopped before the end",
        ),
        (lambda folder: sgl_eval(folder, partial=True), "sgl-eval was stopped before the end"),
        (lambda folder: script(folder), "does not store which tries belong to one question"),
        (
            lambda folder: result(folder, "a.json", {"evalId": "eval-1", "results": {}}),
            "is of promptfoo, which writes the CoT before the answer",
        ),
        (
            lambda folder: result(folder, "mmlu.json", {"score": 0.9, "task_name": "mmlu"}),
            "is of nvidia-simple-evals, which stores averages",
        ),
        (
            lambda folder: result(folder, "results.yml", {"results": {}}).parent,
            "is of NeMo Evaluator, which stores averages",
        ),
        (
            lambda folder: result(folder, "a.txt", 1).parent,
            "but a folder with a.txt; recorded traffic",
        ),
        (
            lambda folder: result(folder, "a.har", {"log": {"entries": []}}),
            "Recorded traffic is judged with `gpt-oss-verify import",
        ),
        (lambda folder: damaged(folder), "cannot be read as a log of evalscope"),
        (too_high, "the score bleu of question 11 is 37.2; scores must be numbers of at most 1."),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(make, said, tmp_path, capsys):
    assert run(["compare", str(evalscope(tmp_path / "a")), str(make(tmp_path / "b"))]) == 2
    assert said in capsys.readouterr().err


def script(folder):
    path = folder / "aime25_gpt-oss-20b-high_temp1.0_20261128_allresults.json"
    write(path, {"score": 0.9, "metrics": {}, "htmls": [], "convos": []})
    return path


def result(folder, name, content):
    folder.mkdir()
    write(folder / name, content)
    return folder / name


def damaged(folder):
    evalscope(folder)
    (reviews,) = folder.glob("reviews/m/*")
    reviews.write_text('{"index": 1}\n')
    return folder


def test_a_folder_becomes_a_baseline_and_a_point_of_the_history(tmp_path, capsys):
    good, bad = evalscope(tmp_path / "runs" / "a", temperature=1), sgl_eval(tmp_path / "runs" / "b")
    out = tmp_path / "base.json"
    assert run(["export", str(good), "--format", "baseline", "--out", str(out)]) == 0
    (scores,) = read_baseline(out).results
    assert (scores.eval, scores.planned, len(scores.scores)) == ("aime25", REPEATS, QUESTIONS)
    worse = evalscope(tmp_path / "c", wrong, temperature=1)
    assert run(["compare", str(out), str(worse), "--json"]) == 1
    capsys.readouterr()
    assert run(["history", str(tmp_path / "runs"), "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)["lines"]
    assert [line["provider"] for line in lines] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert run(["import", str(good), "-p", "mine"]) == run(["recheck", str(good)]) == 2
    assert capsys.readouterr().err.count("compare it with a run or with another log") == 2
    assert run(["history", str(good), "--json"]) == 0  # one log alone
    assert [line["provider"] for line in json.loads(capsys.readouterr().out)["lines"]] == [
        "127.0.0.1:1"
    ]
    assert Path(bad).exists()
