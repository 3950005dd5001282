"""The data of HealthBench: valid rows, ids of rubric items, and the shipped samples."""

import json
from pathlib import Path
from typing import Any

import pytest
from sample_evals import load_eval

from evals.grading.graded_eval import GradedEval
from evals.registry import EVALS, load_data, make_eval
from harness.api.items import Message
from harness.errors import ConfigurationError


def raw(**changes: Any) -> dict[str, Any]:
    row = {
        "prompt_id": "p1",
        "prompt": [{"role": "user", "content": " Why?\n"}],
        "rubrics": [
            {"criterion": "Explains.", "points": 5, "tags": ["axis:accuracy", "level:example"]},
            {"criterion": "Explains.", "points": -2, "tags": []},
        ],
        "example_tags": ["theme:hedging"],
        "ideal_completions_data": None,
        "canary": "healthbench:…",
    }
    return {**row, **changes}


def loaded(folder: Path, *rows: dict[str, Any]) -> GradedEval:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return make_eval(load_data("healthbench", path), 0)


def test_a_conversation_is_sent_unchanged(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": " Why?\n"},
        {"role": "assistant", "content": "What?"},
        {"role": "user", "content": "That."},
    ]
    bench = loaded(tmp_path, raw(prompt=turns))
    assert bench.prompt("p1", 1).messages == (
        Message("user", " Why?\n"),
        Message("assistant", "What?"),
        Message("user", "That."),
    )
    assert [question.id for question in bench.questions] == ["p1"]
    assert EVALS[bench.name].facts.tries == 1


def test_identical_items_of_a_row_have_different_ids(tmp_path: Path) -> None:
    items = loaded(tmp_path, raw()).rows["p1"].items
    assert len({item.id for item in items}) == 2
    assert [item.text for item in items] == ["[5] Explains.", "[-2] Explains."]
    assert not any("/" in item.id for item in items)


def test_an_item_with_different_wording_has_a_different_id(tmp_path: Path) -> None:
    one = loaded(tmp_path, raw()).rows["p1"].items[0]
    reworded = [{"criterion": "Explains it.", "points": 5, "tags": []}]
    assert one.id != loaded(tmp_path, raw(rubrics=reworded)).rows["p1"].items[0].id


def test_the_hash_does_not_depend_on_the_number_format(tmp_path: Path) -> None:
    as_floats = [{**rubric, "points": float(rubric["points"])} for rubric in raw()["rubrics"]]
    sparse = raw(rubrics=as_floats)
    del sparse["ideal_completions_data"]
    whole, other = loaded(tmp_path, raw()), loaded(tmp_path, sparse)
    assert whole.info.sha256 == other.info.sha256
    assert whole.rows["p1"].items == other.rows["p1"].items


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prompt": []}, "'prompt'"),
        ({"prompt": [{"role": "doctor", "content": "x"}]}, "'prompt.0.role'"),
        ({"rubrics": []}, "'rubrics'"),
        ({"rubrics": [{"criterion": "x", "points": "many", "tags": []}]}, "'rubrics.0.points'"),
        (
            {"rubrics": [{"criterion": "x", "points": -3, "tags": []}]},
            "no rubric item has positive",
        ),
        ({"rubrics": [{"criterion": "x", "points": 3, "tags": ["a", "a"]}]}, "names a tag twice"),
        ({"prompt_id": ""}, "'prompt_id'"),
        ({"ideal_completions_data": {"ideal_completion": "x"}}, "ideal_completions_group"),
    ],
)
def test_a_bad_row_is_reported_with_its_line(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, raw(), raw(**{"prompt_id": "p2", **changes}), raw(**changes))
    said = str(caught.value)
    assert said.startswith("2 invalid rows: ")
    assert "rows.jsonl line 2, " in said
    assert "rows.jsonl line 3: " in said
    assert problem in said


def test_a_duplicate_row_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the question p1 occurs 2 times"):
        loaded(tmp_path, raw(), raw(prompt_id="p2"), raw())


@pytest.mark.parametrize("name", [name for name in EVALS if EVALS[name].needs_grader])
def test_the_sample_rows_load(name: str) -> None:
    bench = load_eval(name)
    rows = list(bench.rows.values())
    items = [item for row in rows for item in row.items]
    assert bench.name == bench.info.eval == name
    assert bench.info.sample
    assert len(rows) == 12
    assert {len(row.prompt) for row in rows} == {1, 3}
    assert all(row.prompt[-1].role == "user" for row in rows)
    assert all(any(item.points < 0 for item in row.items) for row in rows)
    tags = {tag.split(":")[0] for item in items for tag in item.tags}
    assert tags == {"axis", "cluster", "level"}
    assert {tag for row in rows for tag in row.example_tags} == {
        "theme:emergency_referrals",
        "theme:context_seeking",
        "theme:global_health",
        "theme:health_data_tasks",
        "theme:hedging",
        "theme:communication",
        "theme:complex_responses",
    }
