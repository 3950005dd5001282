"""Gates in files: valid entries, their precedence, and their effect on the verdict."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import replies
import yaml
from analyses import planned
from healthy import provider_of, without_call
from hypothesis import given
from hypothesis import strategies as st
from replies import MODEL

from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.providers.gate_entry import gate_entry, load_gate_file
from harness.records.analysis import RuleResult
from harness.records.runs import ScoreGate
from harness.records.settings import Layer, Limits, Thresholds, layered, seconds
from harness.rules.catalogue import CHECKS
from harness.rules.suites import choose
from harness.verdict import requirements


def as_thresholds(**gate):
    return layered(Thresholds(), [gate_entry(gate, "gate.yaml").layer("gate.yaml")])


# --- Entries of a gate


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20m", 1200), ("1h30m", 5400), ("45s", 45), ("90", 90), (90, 90), (1.5, 1.5), ("2h5s", 7205)],
)
def test_durations_are_parsed(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "0", 0, -1, "m", "1d", True, None, "5m1h"])
def test_invalid_durations_are_rejected(text):
    with pytest.raises(ValueError, match="must be a time such as 20m"):
        seconds(text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("max_invalids: 1", "gate.yaml: unknown key max_invalids; did you mean 'max_invalid'?"),
        ("budget: {max_costs: 1}", "unknown key budget.max_costs; did you mean 'max_cost'?"),
        ("min_pass_at_k: 90", "min_pass_at_k: input should be less than or equal to 1"),
        ("margins: {aime25: 0}", "margins.aime25: input should be greater than 0"),
        ("budget: {deadline: soon}", "budget.deadline: must be a time such as 20m"),
        ("- max_invalid", "gate.yaml: must be a mapping such as max_invalid: 0"),
        ("max_invalid: 1\nmax_invalid: 2", 'duplicate key "max_invalid"'),
        ("gate: {suite: standard, fly: 1}", "unknown key gate.fly"),
        ("reference: 2", "gate.yaml: reference"),
        (
            "max_invalids: 1\nmin_pass_at_k: 90\nbudget: {deadline: soon, max_cost: 0}",
            "gate.yaml: 4 errors: (1) min_pass_at_k: input should be less than or equal to 1; (2) ",
        ),
    ],
)
def test_invalid_gate_entries_are_reported_in_one_sentence(content, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gate.yaml").write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load_gate_file((tmp_path / "gate.yaml").relative_to(tmp_path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.lists(st.dictionaries(st.sampled_from(["max_invalid", "suite"]), st.just(1)), max_size=5))
def test_the_last_layer_that_sets_a_value_wins(said):
    values = [{key: 3 if key == "max_invalid" else "full" for key in layer} for layer in said]
    layers = [gate_entry(each, "x").layer(f"layer {n}") for n, each in enumerate(values)]
    gate = layered(Thresholds(), layers)
    for name in ("max_invalid", "suite"):
        saying = [n for n, each in enumerate(values) if name in each]
        assert gate.origins.get(name) == (f"layer {saying[-1]}" if saying else None)


def test_budget_and_margins_of_a_gate_are_read():
    entry = gate_entry({"budget": {"deadline": "20m"}, "margins": {"aime25": 5}}, "gate.yaml")
    layers = [entry.layer("gate.yaml")]
    assert layered(Limits(), layers) == Limits(deadline=1200, origins={"deadline": "gate.yaml"})
    scores = layered(ScoreGate(), layers)
    assert (scores.margins, scores.origins) == ({"aime25": 5}, {"margins.aime25": "gate.yaml"})


def test_the_gate_in_the_docs_is_valid():
    text = (Path(__file__).parents[3] / "docs" / "ci.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(max_invalid.*?)```", text, re.DOTALL)
    gate = gate_entry(yaml.safe_load(shown), "docs/ci.md")
    assert {name for name, value in gate if value in (None, {}, ())} == set()
    requirements.check_names(layered(Thresholds(), [gate.layer("x")]))


# --- Single checks


@pytest.mark.parametrize("name", ["usage.sum", "usage", "chat.reasoning", "prompt", "harmony"])
def test_checks_are_named_by_id_family_or_prefix(name):
    requirements.check_names(as_thresholds(may_warn=[name], must_pass=[name]))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("usage.sun", "did you mean 'usage.sum'?"),
        ("promt", "did you mean 'prompt'?"),
        ("zzz", "families are "),
        ("usage.su", "did you mean 'usage.sum'?"),
    ],
)
def test_an_unknown_name_is_rejected_with_a_hint(name, said):
    with pytest.raises(ConfigurationError) as caught:
        requirements.check_names(as_thresholds(must_pass=[name]))
    assert said in str(caught.value)
    assert "must_pass (gate.yaml)" in str(caught.value)


def result(status="passed", applicable=4, name="usage.sum"):
    return RuleResult(check=CHECKS[name].about, status=status, applicable=applicable, failures=1)


@pytest.mark.parametrize(
    ("found", "broken", "unsettled"),
    [
        (result(), 0, 0),
        (result("failed"), 1, 0),
        (result("warned"), 1, 0),
        (result("declared"), 1, 0),
        (result("not_verifiable", 0), 0, 1),
        (result("skipped", 0), 0, 1),
    ],
)
def test_required_checks_must_pass(found, broken, unsettled):
    thresholds = as_thresholds(must_pass=["usage.sum"])
    assert list(requirements.met(thresholds)) == ["What must pass (gate.yaml) passed: usage.sum."]
    assert len(list(requirements.broken([found], thresholds))) == broken
    assert len(list(requirements.unverified([found], run_info(), thresholds))) == unsettled


def test_at_least_one_check_of_a_required_family_must_be_judged():
    thresholds = as_thresholds(must_pass=["usage"])
    other = next(n for n, c in CHECKS.items() if c.about.family == "usage" and n != "usage.sum")
    results = [result(), result("skipped", 0, other)]
    assert not list(requirements.unverified(results, run_info(), thresholds))
    assert list(requirements.unverified(results[1:], run_info(), thresholds))


def run_info(suite="tools", **changes):
    run = planned(**changes)
    return replace(run, settings=run.settings.model_copy(update={"suite": suite})).info


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({"suite": "standard"}, True),
        ({"suite": "full"}, True),
        ({"suite": "tools"}, False),
        ({"suite": "standard", "skip": ("cases",)}, False),
        ({"suite": "standard", "skip": (choose("standard").probes[0].id,)}, False),
        ({"suite": "full", "only": ("cases",)}, False),
    ],
)
def test_the_suite_of_the_gate_must_be_complete(changes, covered):
    said = list(requirements.unverified([], run_info(**changes), as_thresholds(suite="standard")))
    assert said == [] if covered else "standard (gate.yaml)" in said[0]


# --- On the command line


pytestmark = pytest.mark.usefixtures("empty_folder")


def asked(mock, tmp_path, *options, for_all=None, own=None):
    entry = {"base_url": mock.base_url, "model": MODEL, "apis": ["chat"], "gate": own}
    content = {"providers": {"mine": {k: v for k, v in entry.items() if v is not None}}}
    content |= {} if for_all is None else {"gate": for_all}
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump(content))
    few = ["-n", "1", "-k", "1", "--no-streaming", "--rule", "guide"]
    chosen = "--suite" in options or any("suite" in gate for gate in (own or {}, for_all or {}))
    suite = [] if chosen else ["--suite", "tools"]
    return run(["-p", "mine", *few, *suite, *options])


def test_precedence_is_flags_then_gate_file_then_entry_then_all_providers(mock, tmp_path, capsys):
    mock.always = provider_of(without_call)
    nothing = {"min_pass_at_k": 0.0, "min_pass_hat_k": 0.0}
    (tmp_path / "gate.yaml").write_text("min_pass_at_k: 0.3")
    for origin, options, for_all, own in [
        ("(providers.yaml, gate)", (), {"min_pass_at_k": 0.1}, None),
        ("(providers.yaml, providers.mine.gate)", (), nothing, {"min_pass_at_k": 0.2}),
        ("(gate.yaml)", ("--gate", "gate.yaml"), nothing, {"min_pass_at_k": 0.2}),
        ("(--min-pass-at-k)", ("--gate", "gate.yaml", "--min-pass-at-k", "0.4"), None, nothing),
    ]:
        assert asked(mock, tmp_path, *options, for_all=for_all, own=own) == 1
        assert f"% {origin}" in capsys.readouterr().out, origin


def test_recheck_keeps_the_gate_of_the_run_and_takes_another(mock, tmp_path):
    mock.always = provider_of(without_call)
    gate = {"min_pass_at_k": 0.0, "min_pass_hat_k": 0.0, "suite": "tools"}
    (tmp_path / "strict.yaml").write_text(
        "gate: {max_invalid: 0, must_pass: [reasoning.in_answer]}"
    )
    asked(mock, tmp_path, own=gate)
    (folder,) = (tmp_path / "runs").iterdir()
    first = json.loads((folder / "analysis.json").read_text())["verdict"]
    (tmp_path / "providers.yaml").unlink()
    run(["recheck", str(folder)])
    assert json.loads((folder / "analysis.json").read_text())["verdict"] == first
    assert first["thresholds"]["origins"]["suite"] == "providers.yaml, providers.mine.gate"
    run(["recheck", str(folder), "--gate", "strict.yaml"])
    other = json.loads((folder / "analysis.json").read_text())["verdict"]
    assert other["thresholds"]["min_pass_at_k"] == 0.9
    assert other["thresholds"]["origins"]["must_pass"] == "strict.yaml"


def without_sum(request_body):
    return {**request_body, "usage": {**request_body["usage"], "total_tokens": 1}}


def test_checks_that_may_only_warn_do_not_invalidate_attempts(mock, tmp_path, capsys, monkeypatch):
    whole = replies.chat_whole
    monkeypatch.setattr(replies, "chat_whole", lambda reply: without_sum(whole(reply)))
    assert asked(mock, tmp_path) == 1
    assert "1 invalid of 1" in capsys.readouterr().out
    assert asked(mock, tmp_path, "--may-warn", "usage.sum") == 0
    assert "warning usage.sum" in capsys.readouterr().out
    assert asked(mock, tmp_path, "--may-warn", "usage.sum", "--must-pass", "usage") == 1
    assert "usage.sum must pass (--must-pass), but has warnings." in capsys.readouterr().out


def test_the_suite_required_by_the_gate_is_run(mock, tmp_path):
    assert asked(mock, tmp_path, "--suite", "tools", own={"suite": "standard"}) == 4
    asked(mock, tmp_path, "--max-requests", "4", own={"suite": "standard"})
    newest = max((tmp_path / "runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert json.loads((newest / "run.json").read_text())["settings"]["suite"] == "standard"


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"fly": 1}, "unknown key providers.mine.gate.fly"),
        ({"evals": ["aime"]}, "there is no eval 'aime'; did you mean 'aime25'?"),
        ({"margins": {"gpqaa": 3}}, "there is no eval 'gpqaa'; did you mean 'gpqa'?"),
        ({"evals": ["healthbench"]}, "the eval healthbench is not part of --evals quick"),
        ({"may_warn": ["usge"]}, "did you mean 'usage'?"),
        ({"budget": {"max_cost": 3}}, "provider mine has no prices, so max_cost $3"),
    ],
)
def test_an_unusable_gate_is_rejected_before_any_request(mock, tmp_path, gate, said, capsys):
    assert asked(mock, tmp_path, own=gate) == 2
    assert said in capsys.readouterr().err
    assert not mock.received
    assert not (tmp_path / "runs").exists()


def test_a_setting_of_the_command_line_is_named_by_its_option():
    assert Layer({}).origin("first_cases") == "-n"
    assert Layer({}).origin("max_invalid") == "--max-invalid"
    assert Layer({}, "gate.yaml").origin("first_cases") == "gate.yaml"
