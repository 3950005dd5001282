"""The probes of long replies over a socket, with a model that copies documents as requested."""

import json

import pytest
from scripted import COT, ScriptedEngine, serving

from gpt_oss_verify.app import run
from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

CONTEXT = 32_768
RUN = ("--model", "gpt-oss-small", "--suite", "long", "--only", "long.output", "--json")
SIZE = ("--max-context", str(CONTEXT), "--apis", "chat", "--out", "runs")


def copied(prompt: str, _params: object) -> str:
    """The document of the last message twice, or a short answer."""
    message = prompt.rsplit("<|start|>user<|message|>", 1)[-1]
    document, asked, _ = message.partition("\nWrite the report above twice")
    answer = f"{document}\n{document}" if asked else "Yes."
    return f"{COT}<|channel|>final<|message|>{answer}<|return|>"


@pytest.mark.parametrize(
    ("faults", "failed", "warned"),
    [
        ((), set(), set()),
        (("limit-hidden-of-long-replies",), set(), {"default"}),
        (("limit-lowered-of-long-replies",), {"limit"}, {"default"}),
    ],
)
def test_hidden_limits_of_long_replies_are_found(
    faults, failed, warned, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    engine = ScriptedEngine(copied)
    engine.max_context = CONTEXT
    with serving(faulty_parts(faults).app(engine, AppSettings())) as url:
        code = run(["--base-url", url, *RUN, *SIZE])
    found = {each["id"]: each["status"] for each in json.loads(capsys.readouterr().out)["checks"]}
    assert code == (1 if failed else 0)
    for status, names in (("failed", failed), ("warned", warned)):
        expected = {f"long.output.{name}" for name in names}
        assert {name for name, each in found.items() if each == status} == expected
    if not faults:
        names = ("limit", "default")
        assert {found[f"long.output.{name}"] for name in names} == {"passed"}
