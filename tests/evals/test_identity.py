"""The published questions are recognized by their hashes, whatever their format and order."""

import json
import random

import pytest
from test_baseline_verdict import judged, recorded

from evals.aime25 import AimeRow
from evals.identity import fingerprint, identify, normalized, published_ids
from evals.registry import EVALS, load_data, make_eval
from harness.records.runs import DatasetInfo


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"Find $17_{b}$ of $97_{b}$.", r"find $17_b$  of $97_b.$"),
        (r"$\dfrac{a}{b}$, \left(x\right)", r"\frac{a}{b} (x)"),
        ("3 \\times 9\ngrid", r"$3\times9$ grid"),
        ("single-scoop, x \N{MINUS SIGN} 3", "singlescoop x-3"),
        (["b", "a"], ("b", "a")),
    ],
)
def test_layout_does_not_count(one, other):
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x - 3", "x + 3"),
        ("What is 2?", "What is 3?"),
        ("What is 2?", "Was ist 2?"),
        ("x^2", "x2"),
        (["ab", "c"], ["a", "bc"]),
    ],
)
def test_the_meaning_counts(one, other):
    assert normalized(one) != normalized(other)


def test_a_set_is_published_whole_or_in_part_or_is_the_users_own():
    published = {"a": "1", "b": "2", "also b": "2"}
    assert identify(["b", "a"], published, 2) == "published"
    assert identify(["also b", "a"], published, 2) == "published"
    assert identify(["b"], published, 2) == "part"
    assert identify(["a", "c"], published, 2) == "own"
    assert identify(["b", "also b"], published, 2) == "own"  # one question twice
    assert identify(["a"], {}, 2) == "unknown"


def test_the_shipped_hashes_name_every_published_question_of_aime_and_gpqa():
    for name, count in (("aime25", 30), ("gpqa", 198)):
        assert len(set(published_ids(name, name).values())) == count
    problem = "Find the sum of all integer bases $b>9$ for which $17_b$ is a divisor of $97_b$."
    row = AimeRow(question=problem, answer=70)
    assert published_ids("aime25", "aime25")[row.fingerprint] == "I-01"
    assert AimeRow(question=problem, answer=71).fingerprint not in published_ids("aime25", "aime25")


def copy_of(rows, place, monkeypatch):
    """Write rows to a file, and let their hashes be those of the published questions."""
    known = {row.fingerprint: f"I-{at:02d}" for at, row in enumerate(rows, start=1)}
    monkeypatch.setattr("evals.datasets.published_ids", lambda *_: known)
    monkeypatch.setattr("evals.identity.published_ids", lambda *_: known)
    place.write_text("".join(f"{row.model_dump_json()}\n" for row in rows))
    return known


def test_a_reordered_copy_keeps_the_ids_of_its_questions(tmp_path, monkeypatch):
    rows = [AimeRow(question=f"What is {n}?", answer=n) for n in range(30)]
    shuffled = random.Random(0).sample(rows, len(rows))
    copy_of(rows, tmp_path / "x.jsonl", monkeypatch)
    place = tmp_path / "copy.jsonl"
    place.write_text("".join(f"{row.model_dump_json()}\n" for row in shuffled))
    data = load_data("aime25", place)
    assert (data.info.identity, data.info.sample) == ("published", False)
    test = make_eval(data, 0)
    assert all(test.key(f"I-{n + 1:02d}", 1) == str(n) for n in range(30))


def test_other_questions_under_the_name_of_an_eval_are_the_users_own(tmp_path):
    place = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(30)]
    place.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    info = load_data("aime25", place).info
    assert (info.identity, info.sample) == ("own", True)
    verdict = judged(recorded("aime25", 0.9).model_copy(update={"dataset": info}))
    assert verdict.decision is None
    assert "published as aime25" in verdict.reason


def test_without_hashes_only_the_published_file_is_recognized(tmp_path):
    sample = load_data("healthbench", "samples")
    place = tmp_path / "copy.jsonl"
    place.write_text("".join(f"{row.model_dump_json(by_alias=True)}\n" for row in sample.rows))
    info = load_data("healthbench", place).info
    assert (info.identity, info.sample) == ("unknown", True)
    verdict = judged(
        recorded("gpqa", 0.5).model_copy(update={"eval": "healthbench", "dataset": info})
    )
    assert "it is not known whether these are the published questions" in verdict.reason
    assert all(EVALS[name].facts.dataset.known for name in EVALS if EVALS[name].facts.dataset)


def test_runs_of_earlier_versions_keep_the_ids_of_their_questions(monkeypatch, tmp_path):
    rows = tuple(AimeRow(question=f"What is {n}?", answer=n) for n in range(2))
    copy_of(rows[::-1], tmp_path / "x.jsonl", monkeypatch)
    data = load_data("aime25", tmp_path / "x.jsonl")
    earlier = DatasetInfo(eval="aime25", source="x", rows=2, sha256="0")
    assert [q.id for q in make_eval(data, 0).questions] == ["I-01", "I-02"]
    assert [q.id for q in make_eval(type(data)(rows, earlier), 0).questions] == [
        "I-01",
        "I-02",
    ]  # by place
