import json

import pytest
from healthy import SUITE
from jsonschema import Draft202012Validator
from recorded_runs import troubled, write_run

from harness.cli.app import run
from harness.storage.run_folder import read_judgements
from reports import schemas

SMALL = SUITE.first(2)


@pytest.mark.parametrize("name", schemas.MODELS)
def test_the_schema_that_ships_is_current(name):
    assert schemas.shipped(name) == json.loads(schemas.made(name)), (
        "the types have changed: run python -m reports.schemas"
    )
    Draft202012Validator.check_schema(schemas.shipped(name))


def test_a_run_folder_is_what_the_schemas_say(tmp_path, capsys):
    write_run(tmp_path / "run", troubled(SMALL, tries=2), tries=2, first_cases=2)
    assert run(["recheck", str(tmp_path / "run")]) == 1
    lines = {"rollouts.jsonl": "rollout", "analysis.json": "analysis", "run.json": "run"}
    for file, name in lines.items():
        validator = Draft202012Validator(schemas.shipped(name))
        text = (tmp_path / "run" / file).read_text()
        for document in text.splitlines() if file.endswith("l") else [text]:
            validator.validate(json.loads(document))
    validator = Draft202012Validator(schemas.shipped("judgement"))
    judged = (tmp_path / "run" / "judgements.jsonl").read_text().splitlines()
    for line in judged:
        validator.validate(json.loads(line))
    assert len(judged) == 16
    assert [one.record for one in read_judgements(tmp_path / "run")] == [
        json.loads(line)["record"] for line in judged
    ]
