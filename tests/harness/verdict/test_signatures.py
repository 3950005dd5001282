"""The shipped signatures fit the rules and the catalogue, and are made from a matrix."""

import json

from harness.probes.rule_results import RULES
from harness.selftest.faults import Fault
from harness.selftest.matrix import HealthyRuns, Matrix, Row
from harness.selftest.rows import signatures
from harness.verdict.signatures import layers, links, shipped
from reference_engine.faults.catalogue import listing_json


def test_the_shipped_signatures_are_of_visible_faults():
    visible = {fault["name"] for fault in json.loads(listing_json()) if fault["visible"]}
    assert {each.name for each in shipped().faults} <= visible


def test_the_shipped_signatures_name_known_rules_and_layers():
    for each in shipped().faults:
        assert {*each.expected, *each.found, *each.clean} <= set(RULES), each.name
        about = layers()[each.layer]
        assert all(text.endswith(".") for text in (about.title, about.effect, about.remedy))


def test_sources_become_links():
    assert links("vllm PR#35907; ollama#12589") == (
        "https://github.com/vllm-project/vllm/pull/35907",
        "https://github.com/ollama/ollama/issues/12589",
    )
    assert links("ollama 203c13781") == ("https://github.com/ollama/ollama/commit/203c13781",)
    assert links("hypothetical") == ()
    assert links("vLLM 0.32, measured") == ("vLLM 0.32, measured",)


def row(name, measured, **changes):
    fault = Fault(
        name=name,
        layer="usage",
        description="It counts wrongly.",
        source="hypothetical",
        detectors=("usage.sum",),
        **{"visible": True, "allowed": False, "model": False, **changes},
    )
    return Row(fault=fault, status="detected", measured=measured)


def test_signatures_are_made_from_a_matrix():
    healthy = row("healthy", {"usage.sum": (0, 9), "text.doubled": (1, 9)}, allowed=True,
                  visible=False)  # fmt: skip
    wrong = row("wrong", {"usage.sum": (7, 9), "reply.empty": (0, 9)})
    hidden = row("hidden", {}, visible=False)
    matrix = Matrix(
        tool_version="",
        suite="full",
        started_at="",
        seconds=0,
        rows=(healthy, wrong, hidden),
        innocent=HealthyRuns(runs=1, accused=0, rate_at_most=1),
    )
    made = signatures(matrix)
    assert made.healthy == {"text.doubled": (1, 1)}
    (only,) = made.faults
    assert only.found == {"usage.sum": (7, 9)}
    assert only.clean == ("reply.empty",)
    assert only.expected == ("usage.sum",)
