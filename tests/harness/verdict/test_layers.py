"""The likely causes of findings: direct evidence, ties, and examples."""

import re
from fnmatch import fnmatchcase

import pytest

from harness.records.analysis import RuleResult
from harness.records.conditions import BOTH_APIS, Condition
from harness.records.diagnosis import ComponentFault
from harness.records.scores import Evidence, Finding, Score
from harness.rules.catalogue import RULES
from harness.verdict.causes import MOST_CAUSES, diagnose, inherited, layers

LONGEST_REMEDY = 2 * (80 - len("    fix: "))  # two lines of a terminal
CONDITION = Condition(model="m", api="chat", mode="non-streaming")
EVERY_CALL = "calls.choice tools.choice.named tools.choice.required tools.trigger.recall"

# What servers did, the rules that fail (with the share of replies, if not all), and the layer.
REPORTS = (
    ("streams with calls lack finish_reason",
     "chat.stream.finish:0.5 chat.finish.tool_calls:0.4:s parity.finish", "streaming"),
    ("a special token in the content beside calls",
     "harmony.markers:0.3 text.added:0.3 usage.output.uncounted:0.1", "output parser"),
    ("<|end|> is a stop token: every reply ends after the CoT",
     f"reply.empty tools.loop.answers structured.asked echo.returned {EVERY_CALL}", "stop tokens"),
    ("streams lose tokens now and then",
     "usage.output.lost:0.1:s echo.returned:0.1:s calls.arguments.json:0.1:s parity.content:0.2",
     "streaming"),
    ("streams swap pieces now and then",
     "echo.returned:0.1:s calls.arguments.json:0.1:s", "streaming"),
    ("content and CoT are null, tokens are counted",
     "reply.lost:0.2 reply.empty:0.2 usage.output.lost:0.2 usage.output.unseen:0.2",
     "conversion of the reply"),
    ("the CoT is null, and its tokens are counted",
     "reasoning.lost chat.reasoning.missing", "conversion of the reply"),
    ("nothing is returned in the only API, tokens are counted",
     "reply.lost chat.reasoning.missing", "conversion of the reply"),
    ("details of the usage are missing in streams",
     "usage.reasoning.missing:0.3:s parity.usage.reasoning", "usage"),
    ("streams do not name the role", "chat.stream.role", "streaming"),
    ("failures under load become empty replies",
     "load.answered load.served reply.empty:0.2 chat.reasoning.missing:0.2 reasoning.lost:0.2",
     "load"),
    ("prompt tokens exclude cached ones",
     "usage.cached.excess prompt.bare prompt.tool prompt.call prompt.history prompt.cot.kept "
     "usage.input.text:0.1", "prompt tokens"),
    ("schemas without additionalProperties are refused",
     "request.refused:0.4 tools.schema.deep tools.schema.wide tools.schema.any_of "
     f"tools.names.accepted clients.defaults {EVERY_CALL}", "request validation"),
    ("stored responses are not found",
     "state.previous_response state.previous_response.calls", "stored responses"),
    ("temperature 0 is dropped", "sampling.temperature.zero", "sampling"),
    ("a CoT that the limit cuts is returned as content", "reasoning.missing.truncated:0.5",
     "output parser"),
    ("requests with tools lose their instructions",
     "prompt.tool.with_developer prompt.tool.with_system", "prompt format"),
    ("a response is now and then continued with another conversation",
     "state.previous_response:0.25", "stored responses"),
    ("requests fail now and then, also those that continue a response",
     "state.previous_response:0.25 reply.unreadable:0.1:t", "unreadable replies"),
    ("a replica has a small limit of output tokens", "finish.early:0.9 limits.default:0.5",
     "limits"),
    ("the CoT ends where it has a stop string", "stop.early:1:w limits.stop.cot:1:w", "limits"),
)  # fmt: skip

# Findings for which a maintainer refuted a cause.
OTHERS = (
    ("streams are cut", "stream.cut:0.3", "streaming"),
    ("completion tokens are counted twice",
     "usage.limit:0.9 limits.finish usage.output.lost usage.sum", "usage"),
    ("completion tokens are counted twice, and calls have no exact count",
     "usage.sum:0.5 usage.output.unseen:0.2 usage.output.lost:0.5", "usage"),
    ("words are counted instead of tokens",
     "usage.output.uncounted usage.output.lost:0.5 usage.reasoning.differs:0.4", "usage"),
    ("every answer lacks its end", "usage.output.lost:0.5", "conversion of the reply"),
    ("answers are returned as the end of the CoT",
     "reply.empty:0.5 usage.reasoning.differs:0.5", "output parser"),
    ("the final response of streams has no output",
     "responses.stream.final responses.reasoning.missing:0.4:s reply.lost:0.25:s",
     "event builder"),
    ("characters are split between the events of streams", "text.garbled:0.2:s", "streaming"),
    ("arguments are emptied", "calls.arguments.cut", "calls"),
    ("finish reason stop beside calls", "chat.finish.tool_calls", "reply format"),
    ("logprobs are dropped", "chat.logprobs.missing", "sampling"),
    ("calls have no ids", "calls.id.missing chat.schema:0.3 responses.schema:0.3", "calls"),
    ("calls have empty ids, so streams of them are unreadable",
     "calls.id.missing chat.stream.tool_calls responses.stream.call reply.unreadable:0.4:s",
     "calls"),
    ("a marker in the text, only in streams", "harmony.markers:0.1:s parity.content:0.1",
     "output parser"),
    ("the CoT contains the answer", "reasoning.holds_answer usage.reasoning.differs",
     "output parser"),
    ("calls are lost, which shows in more ways in streams",
     "reply.lost:0.8 usage.output.lost:0.4:s", "conversion of the reply"),
    ("calls are lost in streams only", "reply.lost:0.8:s usage.output.lost:0.4:s", "streaming"),
    ("requests fail under load and succeed when repeated", "request.server_error:0.25", "load"),
    ("null content", "reply.lost:0.1 reply.empty:0.1", "conversion of the reply"),
    ("descriptions of tools are dropped",
     "prompt.tool prompt.tool.description prompt.exact.description prompt.long.description",
     "tools in the prompt"),
    ("earlier turns are intact, new instructions and tools are ignored",
     "state.previous_response.instructions state.previous_response.tools", "stored responses"),
    ("words are split at combining marks",
     "prompt.scripts prompt.exact.user.combining usage.input.text:0.1", "tokenizer"),
    ("events lack an index",
     "responses.stream.items responses.stream.item_text responses.schema:0.3:s", "event builder"),
    ("a piece of text is lost somewhere", "usage.output.lost:0.05", None),
    ("errors are returned with status 200", "reply.unreadable stream.content_type",
     "unreadable replies"),
    ("schema violations", "chat.schema responses.schema", "reply format"),
    ("error events in streams", "stream.error_event", "unreadable replies"),
    ("the structure of replies outranks behaviour", "chat.choices:0.2 limits.stop:0.3",
     "reply format"),
    ("content is a list of parts: clients cannot read replies, and probes fail",
     "chat.schema:0.9 reply.unreadable:0.4 sampling.n tools.choice.none tools.loop.goes_on",
     "reply format"),
    ("reasoning items follow their calls", "responses.item.order:0.5:w", "reply format"),
    ("the text is changed, and its logprobs are the reference's", "numerics.greedy",
     "conversion of the reply"),
    ("the CoT is part of the content, which has the stop strings of requests",
     "chat.reasoning.missing reasoning.missing.truncated reasoning.in_answer.untagged:1:w "
     "stop.kept:0.8 limits.stop logprobs.tokens:0.6", "output parser"),
    ("streams lack their last event, so clients cannot read them",
     "reply.unreadable:1:s responses.stream.terminal",
     "event builder"),
    ("the answer is another text than that of its tokens",
     "logprobs.tokens:0.5 stop.kept:0.4 limits.stop:0.5", "conversion of the reply"),
    ("all prompts are counted in proportion", "prompt.scale usage.input.text:0.1:w",
     "prompt tokens"),
    ("a warning beside an unexplained error", "options.precedence chat.stream.role:1:w", None),
    ("whole replies lose text, so the modes differ",
     "parity.text usage.output.lost:0.5", "conversion of the reply"),
    ("only the modes differ", "parity.text", "streaming"),
    ("calls are lost in few tries of the same request", "calls.lost:0.1:t", "output parser"),
    ("no layer explains what is wrong in few tries", "finish.limit:0.0 reasoning.lost:0.08:t",
     "intermittent"),
    ("replies are lost and tool choice is not followed", "reply.lost:0.01 calls.choice", None),
    ("few repetitions fail", "prompt.call:0.25", None),
    ("another effort gives another CoT and answer",
     "sampling.effort sampling.effort.streaming numerics.greedy", "prompt format"),
    ("streams lack the instructions", "parity.usage.prompt:0.2 usage.input.differs:0.01:w",
     "prompt format"),
    ("streams count other prompt tokens", "parity.usage.prompt", "prompt tokens"),
    ("one choice is returned, whatever n is",
     "chat.choices:0.01 sampling.n sampling.n.streaming", "sampling"),
    ("only streams return one choice", "chat.choices:0.01:s sampling.n.streaming", "streaming"),
    ("some replies name another model", "reply.model:0.1:wt reply.model.differs:0.1:wt",
     "another model"),
    ("a field with CoT is not read", "clients.cot_field:0.25:w", "earlier turns"),
    ("equal requests are served and refused", "request.refused.partly:0.02",
     "request validation"),
    ("metadata is lost", "options.metadata:1:w", "options"),
    ("one of the options is not used", "options.repeated:0.17:w", "options"),
)  # fmt: skip


def result(
    rule: str,
    share: float = 1.0,
    modes: tuple[str, ...] = ("streaming", "non-streaming"),
    *,
    got: str = "other text",
    every: int = 100,
    repeated: bool = False,
    status: str = "failed",
) -> RuleResult:
    """The result of a rule that fails in a share of the replies of some modes."""
    about = RULES[rule].about
    evidence = Evidence(record="r", exchange=0, expected="a reply", got=got)
    finding = Finding(id=rule, severity="error", message="It fails.", evidence=evidence)
    failures = round(every * share)
    apis = [api for api in about.apis if api in BOTH_APIS]
    counts = dict.fromkeys(apis, (failures, every))  # as of probes
    if about.kind == "check":
        counts = {
            f"{api} · {mode}": (failures if mode in modes else 0, every)
            for api in apis
            for mode in about.modes
        }
    failed = sum(failures for failures, _ in counts.values())
    return RuleResult(
        check=about,
        status=status if share else "passed",
        applicable=sum(every for _, every in counts.values()),
        failures=failed,
        counts=counts,
        modes=modes if about.kind == "probe" else (),
        repeated=(failed, failed * (3 if repeated else 1)),
        examples=(finding, finding) if share else (),
    )


def run(findings: str) -> list[RuleResult]:
    """The results of a run in which only the findings failed: `RULE:SHARE:OPTIONS`.

    The options are s (only in streams), w (a warning) and t (in few tries of the same request).
    """
    found = {}
    for text in findings.split():
        name, _, rest = text.partition(":")
        share, _, options = rest.partition(":")
        modes = ("streaming",) if "s" in options else ("streaming", "non-streaming")
        found[name] = result(
            name,
            float(share or 1),
            modes,
            got="status 422: strict" if "request.refused" in findings else "other text",
            repeated="t" in options,
            status="warned" if "w" in options else "failed",
        )
    return [found.get(name) or result(name, 0) for name in RULES]


@pytest.mark.parametrize(("findings", "layer"), [each[1:] for each in (*REPORTS, *OTHERS)],
                         ids=[each[0] for each in (*REPORTS, *OTHERS)])  # fmt: skip
def test_the_cause_is_the_layer_that_direct_evidence_shows(findings, layer):
    causes = diagnose(run(findings)).causes
    assert [each.layer for each in causes] == ([layer] if layer else [])


@pytest.mark.parametrize(("failures", "layer"), [(2, None), (20, "streaming")])
def test_few_findings_do_not_show_that_only_streams_have_them(failures, layer):
    found = result("text.garbled", failures / 100)
    counts = {"chat · streaming": (failures, 100), "chat · non-streaming": (0, 100)}
    causes = diagnose([found.model_copy(update={"counts": counts})]).causes
    assert [each.layer for each in causes] == ([layer] if layer else [])


def test_what_hardly_occurs_elsewhere_is_a_defect_of_one_mode():
    counts = {"chat · streaming": (40, 40), "chat · non-streaming": (3, 60),
              "responses · streaming": (1, 40), "responses · non-streaming": (4, 60)}  # fmt: skip
    found = result("calls.arguments.json").model_copy(
        update={"counts": counts, "failures": 48, "applicable": 200}
    )
    (cause,) = diagnose([found]).causes
    assert cause.description == "The server does not stream correctly (chat, streaming)."


@pytest.mark.parametrize(("got", "layer"), [("a stream", "unrequested streams"),
                                            ("<html>", "unreadable replies")])  # fmt: skip
def test_a_stream_that_was_not_requested_has_its_own_cause(got, layer):
    found = [result("reply.unreadable", 0.9, got=got), result("tools.choice.none")]
    first, _ = diagnose(found).causes
    assert (first.layer, first.explains) == (layer, ("reply.unreadable",))


def test_one_form_that_few_servers_serve_is_no_refusal_of_valid_requests():
    refused = result("clients.tool_types", 0.25, got="status 400: no web search", status="warned")
    results = [refused if rule == refused.check.id else result(rule, 0) for rule in RULES]
    assert diagnose(results) is None


def test_a_stored_response_that_is_not_found_now_and_then_is_lost_by_the_store():
    got = "status 404: no such response"
    (cause,) = diagnose([result("state.previous_response", 0.25, got=got)]).causes
    assert cause.layer == "stored responses"


def test_a_cause_explains_only_what_occurs_in_the_same_api_and_mode():
    results = run("responses.stream.status limits.finish")
    chat = {"counts": {"chat": (2, 2)}, "failures": 2, "applicable": 2}
    results = [
        each.model_copy(update=chat) if each.check.id == "limits.finish" else each
        for each in results
    ]
    first, second = diagnose(results).causes
    assert [first.explains, second.explains] == [("responses.stream.status",), ("limits.finish",)]


def test_a_defect_of_streams_explains_nothing_that_other_replies_have_too():
    results = run("responses.stream.items responses.schema:0.9")
    first, second = diagnose(results).causes
    assert [first.explains, second.explains] == [("responses.stream.items",), ("responses.schema",)]


def test_a_defect_of_streams_explains_no_probe_whose_twin_without_streaming_fails_too():
    streams = result("tools.choice.none.streaming", modes=("streaming",))
    whole = result("tools.choice.none", modes=("non-streaming",))
    first, *_ = diagnose([result("chat.stream.done"), streams]).causes
    assert "tools.choice.none.streaming" in first.explains
    first, *_ = diagnose([result("chat.stream.done"), streams, whole]).causes
    assert first.explains == ("chat.stream.done",)


def test_wrong_fields_of_replies_do_not_change_the_tokens_of_prompts():
    rule, place = "prompt.special", "chat special"
    found = result(rule)
    evidence = found.examples[0].evidence.model_copy(update={"path": "$.usage"})
    counted = found.examples[0].model_copy(update={"evidence": evidence})
    found = found.model_copy(update={"failing": (place,), "examples": (counted,)})
    for check, expected in (("chat.schema", set()), ("usage.cached.excess", {rule})):
        wrong = run(check)[list(RULES).index(check)].examples[:1]
        scores = [
            Score(record=name, task=task, sample=name, condition=CONDITION, attempt=1,
                  outcome="success", findings=wrong)
            for name, task in (("special", "prompt"), ("x", "limits"))
        ]  # fmt: skip
        assert inherited([found], scores) == expected


@pytest.mark.parametrize(("other", "layer"), [("limits", "conversion of the reply"),
                                              ("structured", "structured output")])  # fmt: skip
def test_a_probe_inherits_what_its_replies_share_with_others(other, layer):
    results = run("structured.followed text.escaped:0.02")
    failing = ("chat named", "chat nested")
    results = [
        each.model_copy(update={"failing": failing}) if "followed" in each.check.id else each
        for each in results
    ]
    escaped = run("text.escaped")[list(RULES).index("text.escaped")].examples[:1]
    scores = [
        Score(record=name, task=task, sample=name, condition=CONDITION, attempt=1,
              outcome="success", findings=escaped)
        for name, task in (("named", "structured"), ("nested", "structured"), ("x", other))
    ]  # fmt: skip
    found = diagnose(results, (), inherited(results, scores))
    assert found.causes[0].layer == layer


def test_layers_that_explain_the_same_findings_equally_well_are_both_named():
    (cause,) = diagnose(run("usage.missing:1:s")).causes
    both = {cause.description.partition(" (")[0] + ".", *cause.alternatives}
    assert both == {layers()["usage"].title, layers()["streaming"].title}


def test_independent_defects_are_separate_causes_errors_first():
    errors = "usage.sum usage.zero:1:w builtin.shown chat.finish.tool_calls long.accepted"
    causes = diagnose(run(f"{errors} errors.status:1:w")).causes
    layers_named = {each.layer for each in causes}
    assert len(causes) == MOST_CAUSES
    assert layers_named < {"usage", "built-in tools", "reply format", "long context"}
    causes = diagnose(run("usage.sum usage.zero:1:w errors.status:1:w")).causes
    assert [each.layer for each in causes] == ["usage"]


def test_requests_that_fail_without_a_common_feature_show_the_load():
    rules = ("cot.accepted", "tools.loop.goes_on", "clients.results")
    busy = [result(rule, 0.1, got="status 503: busy") for rule in rules]
    assert [each.layer for each in diagnose(busy).causes] == ["load"]
    assert "load" not in [each.layer for each in diagnose(busy[:2]).causes]


def test_the_worst_finding_without_a_cause_is_named():
    found = diagnose(run("options.precedence structured.asked:0.6"))
    assert [each.layer for each in found.causes] == ["structured output"]
    assert found.worst_unexplained == "options.precedence"
    assert diagnose(run("structured.asked")).worst_unexplained is None


@pytest.mark.parametrize(
    ("findings", "places"),
    [
        ("chat.choices:0.2", "(chat)"),
        ("chat.choices:0.2 responses.schema:0.2", None),
        ("calls.in_text:0.5:s", "(streaming)"),
        ("chat.finish.tool_calls:0.5:s", "(chat, streaming)"),
        ("calls.in_text:0.1:t", "(in 10% of replies: the same request is right in most tries)"),
    ],
)
def test_a_cause_names_what_deviates(findings, places):
    description = diagnose(run(findings)).causes[0].description
    assert description.endswith(f" {places}." if places else ".")
    assert places or "(" not in description


def test_the_remedy_is_that_of_the_rule():
    remedies = {
        rule: diagnose(run(rule)).causes[0].remedy
        for rule in ("harmony.remains", "reasoning.in_answer", "state.previous_response.tools",
                     "state.previous_response", "limits.stop", "limits.stop.several",
                     "limits.finish", "limits.finish.max_completion_tokens",
                     "prompt.tool.with_system", "prompt.system")
    }  # fmt: skip
    assert len(set(remedies.values())) == len(remedies)
    early = diagnose([*run("limits.default:0.5"), *run("finish.early")])
    assert "no limit of output tokens" in early.causes[0].remedy
    assert "openai-harmony's parser" not in remedies["harmony.remains"]
    assert "Store every" not in remedies["state.previous_response.tools"]


def test_rules_that_judged_nothing_are_no_evidence():
    skipped = [RuleResult(check=RULES["usage.sum"].about, status="not_verifiable", reasons=())]
    assert diagnose(skipped) is None
    component = ComponentFault(component="engine", text="The engine is at fault.")
    assert diagnose(skipped, (component,)).components == (component,)


def test_warnings_alone_have_no_unknown_cause():
    results = run("options.precedence")
    assert diagnose(results).unexplained == ("options.precedence",)
    warned = [e.model_copy(update={"status": "warned"}) if e.failures else e for e in results]
    assert diagnose(warned) is None


def test_an_example_is_shown_only_if_its_own_rule_failed():
    (cause,) = diagnose(run("structured.reasoning")).causes
    assert [each.description for each in cause.examples] == [
        layers()["structured output"].examples["structured.reasoning"].description
    ]
    (cause,) = diagnose(run("structured.followed")).causes
    assert cause.examples == ()


def test_the_table_names_existing_rules():
    for name, layer in layers().items():
        patterns = {*layer.explains}
        for each in layer.direct:
            patterns |= {each.rule, *each.beside, *each.without}
        for pattern in patterns:
            assert any(fnmatchcase(rule, pattern) for rule in RULES), (name, pattern)
        for rule, example in layer.examples.items():
            assert any(fnmatchcase(rule, each.rule) for each in layer.direct), (name, rule)
            assert rule in RULES
            assert all(re.match(r"https://github\.com/\S+/\d+$", each) for each in example.sources)
        assert list(layer.remedies)[-1] == "*", name
        for pattern, text in layer.remedies.items():
            assert any(fnmatchcase(rule, pattern) for rule in RULES), (name, pattern)
            assert len(text) <= LONGEST_REMEDY, f"{text} takes more than two lines"
        texts = (layer.title, layer.effect, *layer.remedies.values())
        assert all(text.endswith(".") for text in texts)
