"""Answer extraction agrees with the labels of tests/evals/answers, and credits nothing wrongly."""

import runpy
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ANSWERS = runpy.run_path(
    str(Path(__file__).parents[2] / "benchmarks" / "answers.py"), run_name="answers"
)
FILES = sorted(ANSWERS["FOLDER"].glob("*.txt"))
LEAST_SHARE = 0.98
LEAST_SHARE_OF_A_FILE = 0.9


@cache
def answers(path):
    return list(ANSWERS["labelled"](path))


@cache
def tally(path, extractor="ours"):
    return ANSWERS["tally"](answers(path), ANSWERS[extractor])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_answers_are_read_as_labelled_and_none_is_wrongly_credited(path):
    found = answers(path)
    counts = tally(path)
    wrong = [each.place for each in found if ANSWERS["ours"](each) not in {None, each.label}]
    assert wrong == []
    assert counts["agrees"] >= LEAST_SHARE_OF_A_FILE * len(found)


def test_nearly_all_answers_are_read_as_labelled():
    counts = sum(map(tally, FILES), Counter())
    assert counts["agrees"] >= LEAST_SHARE * counts.total()


def test_openais_script_agrees_with_fewer_labels_and_credits_wrong_answers():
    counts = sum((tally(path, "openais") for path in FILES), Counter())
    assert counts["agrees"] < 0.7 * counts.total()
    assert counts["credited wrongly"] > 100


def test_there_are_enough_right_and_wrong_answers():
    labels = Counter(
        (bool(each.choices), each.label is None) for path in FILES for each in answers(path)
    )
    assert labels.total() >= 800
    assert min(labels.values()) >= 150


def test_every_label_is_an_integer_or_one_of_four_letters():
    labelled = [each for path in FILES for each in answers(path) if each.label is not None]
    for each in labelled:
        right = each.label in "ABCD" if each.choices else str(int(each.label)) == each.label
        assert right, each.place


def test_extractions_are_classified_as_right_missed_or_wrongly_credited():
    result = ANSWERS["result"]
    assert result("70", "70") == result(None, None) == "agrees"
    assert result(None, "70") == "missed"
    assert result("71", "70") == result("71", None) == "credited wrongly"
