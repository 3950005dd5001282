"""Evals with Python: the built-in tool or a function, the sandbox, and the baselines."""

import json

import pytest
from background import in_background
from mock_provider import MockProvider, error, write_json
from replies import Reply, chat_whole, responses_whole

from evals import python_tool
from evals.baselines.choice import choose_baseline
from evals.baselines.eval_scores import EvalScores
from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.records.runs import DatasetInfo
from harness.records.settings import Sampling

MODEL = "gpt-oss-mock"
PROGRAM = "print(6 * 7)"


pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def sandbox():
    try:
        python_tool.require_sandbox()
    except ConfigurationError as problem:
        pytest.skip(str(problem))


@pytest.mark.parametrize(
    ("arguments", "program"),
    [
        ('{"code": "print(1)"}', "print(1)"),
        ("print(1)", "print(1)"),
        ('"print(1)"', "print(1)"),
        ("{'a'}", "{'a'}"),
        ("1", "1"),
        ('{"script": "print(1)"}', None),
        ('{"code": 1}', None),
    ],
)
def test_the_program_is_read_from_a_call(arguments, program):
    assert python_tool.program_in(arguments) == program


def evaluated(provider, *more):
    place = ["--base-url", provider.base_url, "--model", MODEL, "--with-tools", "python"]
    size = ["--eval", "aime25", "--samples", "--examples", "1", "-k", "1"]
    return run(["eval", *place, *size, *more])


def facts(tmp_path):
    (folder,) = (tmp_path / "runs").iterdir()
    (task,) = json.loads((folder / "run.json").read_text())["tasks"]
    (found,) = json.loads((folder / "analysis.json").read_text())["results"]
    return task["sampling"], found["programs"], (folder / "report.md").read_text()


async def calls_the_function(request, writer):
    """Reject built-in tools, call the function once, and answer with its output."""
    body = request.body
    chat = request.path.endswith("/chat/completions")
    turns = body.get("messages") or body.get("input")
    whole = chat_whole if chat else responses_whole
    if any(tool.get("type") == "code_interpreter" for tool in body.get("tools", ())):
        write_json(writer, error("code_interpreter is not supported"), 400)
    elif "tools" not in body:
        write_json(writer, whole(Reply(text="Hi.")))
    elif turns[-1].get("role") == "tool" or turns[-1].get("type") == "function_call_output":
        shown = turns[-1].get("content") or turns[-1].get("output")
        write_json(writer, whole(Reply(text=rf"\boxed{{{shown.strip()}}}")))
    else:
        write_json(writer, whole(Reply(call=("python", json.dumps({"code": PROGRAM})))))


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_without_a_built_in_tool_the_programs_run_here(api, tmp_path, capsys):
    with in_background(MockProvider(always=calls_the_function, models=[MODEL])) as provider:
        assert evaluated(provider, "--api", api) == 0
        shown = json.dumps(provider.posts[-1].body)
    assert '"42\\n"' in shown
    sampling, programs, report = facts(tmp_path)
    assert (sampling["python"], programs) == ("function", {"attempts": 1, "programs": 1})
    assert "python function" in report
    assert "| attempts with Python | 1 (1 program) |" in report
    assert "with Python: will not be compared" in capsys.readouterr().err


def test_the_providers_tool_is_used_if_available(tmp_path, monkeypatch):
    monkeypatch.setattr(python_tool, "_SANDBOX", ("false",))

    async def runs_programs(request, writer):
        reply = responses_whole(Reply(text=r"\boxed{42}"))
        if "tools" in request.body:
            item = {"type": "code_interpreter_call", "id": "ci_1", "code": PROGRAM}
            reply["output"].insert(-1, {**item, "status": "completed", "container_id": "c"})
        write_json(writer, reply)

    with in_background(MockProvider(always=runs_programs, models=[MODEL])) as provider:
        assert evaluated(provider, "--api", "responses") == 0
        assert provider.posts[-1].body["tools"] == [
            {"type": "code_interpreter", "container": {"type": "auto"}}
        ]
    sampling, programs, _ = facts(tmp_path)
    assert (sampling["python"], programs) == ("built-in", {"attempts": 1, "programs": 1})


def test_without_isolation_nothing_is_sampled(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(python_tool, "_SANDBOX", ("sh", "-c", "echo no namespaces.; exit 97"))
    with in_background(MockProvider(always=calls_the_function, models=[MODEL])) as provider:
        assert evaluated(provider, "--api", "chat") == 2
        assert all("tools" not in post.body for post in provider.posts)
    assert "safely: no namespaces." in capsys.readouterr().err
    assert list((tmp_path / "runs").iterdir()) == []


def scores(python):
    values = {f"q{number}": (1.0,) for number in range(30)}
    return EvalScores(
        eval="aime25",
        model="gpt-oss-20b",
        effort="medium",
        dataset=DatasetInfo(eval="aime25", source="here", rows=30, sha256="abc"),
        api="chat",
        sampling=Sampling(temperature=1.0, top_p=1.0, max_tokens=131_072, python=python),
        planned=1,
        scores=values,
    )


def test_a_run_with_python_is_compared_only_with_figures_with_tools():
    plain, own = (choose_baseline(None).reference(scores(each)) for each in (None, "function"))
    assert all(figure.value < 0.8 for figure in plain.info.figures)
    assert [(figure.source, figure.value) for figure in own.info.figures] == [
        ("harmonyagent", 0.917)
    ]
    assert any("Python was a function" in warning for warning in own.warnings)
    card = choose_baseline("card").reference(scores("built-in"))
    assert ([figure.value for figure in card.info.figures], card.warnings) == ([0.904], ())
    nothing = choose_baseline("vllm-recipes").reference(scores("function"))
    assert "medium effort with tools" in nothing
