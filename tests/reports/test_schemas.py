"""The JSON schemas of run folders."""

import json

import pytest
from jsonschema import Draft202012Validator
from replies import Reply
from reporting import condition, eval_result, failing, failing_scores, rollout, rubric, score

from harness.run import run_folder, run_log
from reports import schemas


@pytest.mark.parametrize("name", schemas.MODELS)
def test_the_shipped_schema_is_current(name):
    assert schemas.shipped(name) == json.loads(schemas.generated(name)), (
        "the types have changed: run python -m reports.schemas"
    )
    Draft202012Validator.check_schema(schemas.shipped(name))


def test_a_run_folder_follows_the_schemas(tmp_path):
    scores = failing_scores()
    graded = score("q", task="healthbench", condition=condition(effort="low"), order=(1, 0))
    results = (*failing().results, eval_result([graded], rubric=rubric(), grader="g"))
    found = failing().model_copy(update={"results": results})
    run_log.write_run_info(tmp_path, found.run)
    run_folder.write_analysis(tmp_path, found)
    run_folder.write_scores(tmp_path, [*scores, graded])
    with run_log.RunLog(tmp_path) as log:
        for each in scores:
            log.append(rollout(each, [Reply(text="Hello.")]))
    lines = {"rollouts.jsonl": "rollout", "analysis.json": "analysis", "run.json": "run",
             "scores.jsonl": "score"}  # fmt: skip
    for file, name in lines.items():
        validator = Draft202012Validator(schemas.shipped(name))
        text = (tmp_path / file).read_text()
        documents = text.splitlines() if file.endswith("l") else [text]
        assert len(documents) == {"rollout": 6, "score": 7}.get(name, 1)
        for document in documents:
            validator.validate(json.loads(document))
