"""The JSON schemas of run folders."""

import json

import pytest
from jsonschema import Draft202012Validator
from replies import Reply
from reporting import condition, eval_result, failing, failing_scores, rollout, rubric, score

from harness.run import run_folder, run_log
from reports import schemas


def test_the_command_writes_valid_schemas(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["schemas", str(tmp_path / "made")])
    schemas.main()
    files = {path.name: path for path in (tmp_path / "made").iterdir()}
    assert files.keys() == {f"{name}.schema.json" for name in schemas.MODELS}
    for file in files.values():
        Draft202012Validator.check_schema(json.loads(file.read_text("utf-8")))


@pytest.mark.parametrize("arguments", [[], ["file"]])
def test_the_command_needs_a_folder(arguments, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["schemas", *arguments])
    with pytest.raises(SystemExit, match="schemas"):
        schemas.main()


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
        validator = Draft202012Validator(schemas.schema(name))
        text = (tmp_path / file).read_text()
        documents = text.splitlines() if file.endswith("l") else [text]
        assert len(documents) == {"rollout": 6, "score": 7}.get(name, 1)
        for document in documents:
            validator.validate(json.loads(document))
