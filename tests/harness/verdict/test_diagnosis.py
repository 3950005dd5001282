"""The likely causes of findings: the component at fault, and when it fails."""

from dataclasses import replace

import pytest

from harness.records.analysis import FailingRequest, RuleResult
from harness.records.conditions import BOTH_APIS, MODES, Condition
from harness.records.diagnosis import ComponentFault, Occasion
from harness.records.register import known_defect
from harness.records.replies import Feature, Row
from harness.records.scores import Evidence, Finding, Score
from harness.rules.catalogue import PROBES, RULES
from harness.rules.components import COMPONENTS
from harness.rules.results import check_results
from harness.verdict.causes import MOST_CAUSES, diagnose
from harness.verdict.occasions import UNDER_LOAD

LONGEST_FIX = 2 * (80 - len("    fix: "))  # two lines of a terminal
EVERY = 100  # attempts over each API and mode, two at each request
GROUPS = [(api, mode) for api in BOTH_APIS for mode in MODES]
EVERY_CALL = "calls.choice tools.choice.named tools.choice.required"

# What servers did, the rules that fail (with the share of replies, if not all), and the component;
# after it, when.
KNOWN = (
    ("streams with calls lack finish_reason",
     "chat.stream.finish:0.5 chat.finish.tool_calls:0.4:s parity.finish", "events"),
    ("a special token in the content beside calls",
     "harmony.markers:0.3 text.added:0.3 usage.sum:0.1", "output"),
    ("<|end|> is a stop token: every reply ends after the CoT",
     f"reply.empty tools.results.used structured.asked echo.returned {EVERY_CALL}", "ends"),
    ("streams lose tokens now and then",
     "usage.output.lost:0.1:s echo.returned:0.1:s calls.arguments.json:0.1:s parity.text:0.2",
     "output only streams"),
    ("streams swap pieces now and then",
     "echo.returned:0.1:s calls.arguments.json:0.1:s", "calls only streams"),
    ("content and CoT are null, tokens are counted",
     "reply.lost:0.2 reply.empty:0.2 usage.output.lost:0.2",
     "output"),
    ("the CoT is null, and its tokens are counted",
     "usage.output.lost reasoning.missing", "output"),
    ("nothing is returned in the only API, tokens are counted",
     "reply.lost reasoning.missing", "output"),
    ("details of the usage are missing in streams",
     "usage.reasoning:0.3:s", "usage"),
    ("streams do not name the role", "chat.stream.role", "events"),
    ("failures under load become empty replies",
     "load.cross_talk load.served reply.empty:0.2 reasoning.missing:0.2 usage.output.lost:0.2",
     "shared"),
    ("prompt tokens exclude cached ones",
     "usage.sum prompt.bare prompt.tool prompt.call prompt.history prompt.cot.kept "
     "usage.input.differs:0.1", "usage"),
    ("schemas without additionalProperties are refused",
     "request.refused:0.4 tools.schema.deep tools.schema.wide tools.schema.any_of "
     f"tools.names.accepted clients.defaults {EVERY_CALL}", "refusals"),
    ("stored responses are not found",
     "state.previous_response state.previous_response", "storage"),
    ("temperature 0 is dropped", "sampling.temperature.zero", "sampling"),
    ("a CoT that the limit cuts is returned as content", "reasoning.missing.truncated:0.5",
     "output"),
    ("requests with tools lose their instructions",
     "prompt.tool.with_developer prompt.tool.with_system", "prompt"),
    ("a response is now and then continued with another conversation",
     "state.previous_response:0.25", "storage"),
    ("requests fail now and then, also those that continue a response",
     "state.previous_response:0.25 reply.unreadable:0.1:t", "unreadable"),
    ("a replica has a small limit of output tokens", "finish.early:0.9 limits.default:0.5",
     "ends"),
    ("the CoT ends where it has a stop string", "stop.early:1:w", "ends"),
    ("streams are cut", "stream.cut:0.3", "interrupted"),
    ("completion tokens are counted twice",
     "usage.sum:0.9 usage.output.lost:0.1", "usage"),
    ("completion tokens are counted twice, and calls have no exact count",
     "usage.sum:0.5 usage.output.lost:0.3", "usage"),
    ("some counts of streams are proven to be wrong, and more only do not fit",
     "usage.output.miscounted:0.3:s usage.output.unexplained:0.4:s", "usage"),
    ("words are counted instead of tokens",
     "usage.sum usage.output.lost:0.5 usage.reasoning:0.4", "usage"),
    ("a reply has the counts of another request",
     "usage.sum:0.02 usage.output.lost:0.04 finish.limit:0.01", "usage"),
    ("the tokens of a failed attempt are added",
     "usage.sum:0.04 finish.limit:0.03 usage.output.lost:0.03", "usage"),
    ("invalid requests and unknown efforts get a status 500",
     "errors.status:0.6 sampling.effort.others", "errors"),
    ("every answer lacks its end", "usage.output.lost:0.5", "output"),
    ("answers are returned as the end of the CoT",
     "reply.empty:0.5 usage.reasoning:0.5", "output"),
    ("the final response of streams has no output",
     "responses.stream.final reasoning.missing:0.4:s reply.lost:0.25:s",
     "events"),
    ("characters are split between the events of streams", "text.garbled:0.2:s",
     "characters only streams"),
    ("arguments are emptied", "calls.arguments.cut", "calls"),
    ("finish reason stop beside calls", "chat.finish.tool_calls", "format"),
    ("logprobs are dropped", "logprobs.given", "logprobs"),
    ("calls have no ids", "calls.id.missing chat.schema:0.3 responses.schema:0.3", "calls"),
    ("calls have empty ids, so streams of them are unreadable",
     "calls.id.missing chat.stream.tool_calls responses.stream.call reply.unreadable:0.4:s",
     "calls"),
    ("a marker in the text, only in streams", "harmony.markers:0.1:s parity.text:0.1",
     "output"),
    ("the CoT contains the answer", "reasoning.holds_answer usage.reasoning",
     "output"),
    ("calls are lost, which shows in more ways in streams",
     "reply.lost:0.8 usage.output.lost:0.4:s", "output"),
    ("calls are lost in streams only", "reply.lost:0.8:s usage.output.lost:0.4:s",
     "output only streams"),
    ("requests fail under load and succeed when repeated", "request.server_error:0.25", "failures"),
    ("null content", "reply.lost:0.1 reply.empty:0.1", "output"),
    ("descriptions of tools are dropped",
     "prompt.tool prompt.tool.description prompt.exact.description prompt.long.description",
     "tools"),
    ("earlier turns are intact, new instructions and tools are ignored",
     "state.previous_response.instructions state.previous_response.tools", "storage"),
    ("words are split at combining marks",
     "prompt.scripts prompt.exact.user.combining usage.input.differs:0.1", "messages"),
    ("events lack an index",
     "responses.stream.items responses.stream.item_text responses.schema:0.3:s", "events"),
    ("errors are returned with status 200", "reply.unreadable stream.content_type",
     "unreadable"),
    ("schema violations", "chat.schema responses.schema", "format"),
    ("error events in streams", "stream.error_event", "interrupted"),
    ("the structure of replies outranks behaviour", "chat.choices:0.2 limits.default:0.3",
     "format"),
    ("content is a list of parts: clients cannot read replies, and probes fail",
     "chat.schema:0.9 reply.unreadable:0.4 sampling.n tools.choice.none tools.loop.goes_on",
     "format"),
    ("reasoning items follow their calls", "responses.item.order:0.5:w", "format"),
    ("the text is changed, and its logprobs are the reference's", "numerics.greedy",
     "sampling"),
    ("the CoT is part of the content, which has the stop strings of requests",
     "reasoning.missing reasoning.missing.truncated reasoning.in_answer.untagged:1:w "
     "stop.kept:0.8 logprobs.tokens:0.6", "output"),
    ("streams lack their last event, so clients cannot read them",
     "reply.unreadable:1:s responses.stream.terminal",
     "events"),
    ("the answer is another text than that of its tokens",
     "logprobs.tokens:0.5 stop.kept:0.4", "text"),
    ("all prompts are counted in proportion", "prompt.scale usage.input.differs:0.1:w",
     "usage"),
    ("whole replies lose text, so the modes differ",
     "parity.text usage.output.lost:0.5", "output"),
    ("only the modes differ", "parity.text", "events"),
    ("calls are lost in few tries of the same request", "calls.lost:0.1:t", "output"),
    ("no layer explains what is wrong in few tries", "finish.limit:0.0 usage.output.lost:0.08:t",
     "output"),
    ("another effort gives another CoT and answer",
     "sampling.effort sampling.effort.streaming numerics.greedy", "prompt"),
    ("streams lack the instructions", "parity.usage.prompt:0.2 usage.input.differs:0.01:w",
     "prompt"),
    ("streams count other prompt tokens", "parity.usage.prompt.count", "usage"),
    ("one choice is returned, whatever n is",
     "chat.choices:0.01 sampling.n sampling.n.streaming", "sampling"),
    ("only streams return one choice", "chat.choices:0.01:s sampling.n.streaming", "sampling"),
    ("some replies name another model", "reply.model:0.1:wt reply.model.differs:0.1:wt",
     "replicas"),
    ("a field with CoT is not read", "clients.cot_field:0.25:w", "refusals"),
    ("equal requests are served and refused", "request.refused.partly:0.02",
     "replicas"),
    ("descriptions of tools are dropped, so the model does not use results",
     "tools.results.used prompt.tool.description prompt.long.tools", "tools"),
    ("identical requests have differing counts of prompt tokens",
     "usage.input.differs:0.1:w", "shared"),
    ("the text is repeated, which structured answers show, too",
     "text.doubled:0.4:w usage.sum:0.4", "text"),
    ("metadata is lost", "options.metadata:1:w", "options"),
    ("one of the options is not used", "options.repeated:0.17:w", "options"),
)  # fmt: skip
FEWEST_RIGHT = 70  # of KNOWN: a component has no list of what it explains


def finding(rule, record="r", received="differs", status="failed", path=None):
    """A finding of a rule in a record."""
    path = path or ("$.usage" if rule.startswith("usage.") else None)
    evidence = Evidence(
        record=record, exchange=0, path=path, expected="this", got="that", received=received
    )
    severity = {"failed": "error", "warned": "warning"}[status]
    return Finding(id=rule, severity=severity, message="It fails.", evidence=evidence)


def probe(rule, share=1.0, modes=MODES, *, received="differs", status="failed", path=None):
    """The result of a probe that fails in a share of its replies."""
    about = PROBES[rule].about
    found = finding(rule, received=received, status=status, path=path)
    apis = [api for api in about.apis if api in BOTH_APIS]
    failures = round(20 * share)
    return RuleResult(
        check=about,
        status=status if share else "passed",
        applicable=20 * len(apis),
        failures=failures * len(apis),
        counts=dict.fromkeys(apis, (failures, 20)),
        modes=tuple(mode for mode in modes if mode in about.modes),
        examples=(found, found),
    )


def attempt(number, api, mode, applicable=(), findings=(), task="tools", **about):
    """The score of one attempt; two successive ones send the same request."""
    record = f"{api} {mode} {number}"
    return Score(
        record=record,
        task=task,
        sample=f"s{number // 2}",
        condition=Condition(model="m", api=api, mode=mode),
        attempt=number % 2 + 1,
        outcome="success",
        applicable=frozenset(applicable),
        findings=tuple(findings),
        rows=(Row(**({"record": record, "size": 1} | about)),),
    )


def run(findings):
    """The results and scores of a run in which only the findings failed: `RULE:SHARE:OPTIONS`.

    The options are s (only in streams), w (a warning) and t (in few tries of the same request).
    """
    checks, probes = [], []
    received = "refused" if "request.refused" in findings else "differs"
    for text in findings.split():
        rule, _, rest = text.partition(":")
        share, _, options = rest.partition(":")
        modes = MODES[:1] if "s" in options else MODES
        status = "warned" if "w" in options else "failed"
        if rule in PROBES:
            probes.append(probe(rule, float(share or 1), modes, received=received, status=status))
        else:
            checks.append((rule, float(share or 1), modes, status, 2 if "t" in options else 1))
    scores = []
    for api, mode in GROUPS:
        judged = [check for check in checks if applies(check[0], api, mode)]
        for number in range(EVERY):
            found = [
                finding(rule, f"{api} {mode} {number}", received, status)
                for rule, share, modes, status, step in judged
                if mode in modes and number < EVERY * share * step and number % step == 0
            ]
            scores.append(attempt(number, api, mode, [check[0] for check in judged], found))
    return [*check_results(scores, GROUPS), *probes], scores


def applies(rule, api, mode):
    about = RULES[rule].about
    return api in about.apis and mode in about.modes


def causes(findings):
    found = diagnose(*run(findings))
    return () if found is None else found.causes


def is_right(cause, wanted):
    component, _, when = wanted.partition(" ")
    return cause.component == component and when in cause.sentence


def test_the_first_cause_of_known_defects_is_the_part_that_was_defective():
    wrong = [
        (about, wanted, first and first[0].description)
        for about, findings, wanted in KNOWN
        if not (first := causes(findings)) or not is_right(first[0], wanted)
    ]
    assert len(KNOWN) - len(wrong) >= FEWEST_RIGHT, wrong


@pytest.mark.parametrize(("shared", "component"), [(0.1, "shared"), (0.002, "tools")])
def test_one_try_of_a_probe_does_not_outweigh_replies_of_other_requests(
    shared: float, component: str
) -> None:
    """A request has one try over each API, and its only reply may be that of another one."""
    results, scores = run(f"reply.id.shared:{shared * 5}")
    one = dict.fromkeys(BOTH_APIS, (1, 1))
    rules = ("prompt.tool.description", "prompt.tool.schema.order", "prompt.tool.schema.default")
    tried = [
        probe(rule, path="$.choices").model_copy(update={"counts": one, "applicable": 2})
        for rule in rules
    ]
    assert diagnose([*results, *tried], scores).causes[0].component == component


@pytest.mark.parametrize(
    ("got", "component"), [("Z\ufffd\ufffdrich", "characters"), ("Zrich", "events")]
)
def test_a_character_that_one_of_two_texts_has_broken_is_the_cause_of_any_rule(
    got: str, component: str
) -> None:
    results, scores = run("responses.stream.item_text:0.3:s")
    for at, result in enumerate(results):
        for each in result.examples:
            texts = {"expected": "Zürich", "got": got}
            shown = each.evidence.model_copy(update=texts)
            found = each.model_copy(update={"evidence": shown})
            results[at] = result.model_copy(update={"examples": (found,)})
    (cause,) = diagnose(results, scores).causes
    assert cause.component == component
    assert ("a read may end within a character" in cause.remedy) == (component == "characters")


@pytest.mark.parametrize(
    ("failing", "named"),
    [
        (("chat list", "chat sum", "responses long", "responses sum"), True),
        (("chat result", "chat two results", "responses result", "responses two results"), False),
        (("chat result", "chat two results", "responses result"), False),
        (("chat list", "chat sum"), False),
        ((), False),
    ],
)
def test_two_builds_are_named_only_if_equal_requests_differ(failing, named):
    """As of a router before an engine with another quantization, not as of another rendering."""
    requests = tuple(FailingRequest(*each.split(" ", 1)) for each in failing)
    result = probe("numerics.logprobs", 0.5).model_copy(update={"failing": requests})
    (first, *_) = diagnose([result], []).causes
    assert first.component == "model"
    assert (Occasion(kind="some requests") in first.when) == named


def when(holds, rule="reply.lost", **options):
    """The first cause if one rule fails in the replies for which `holds` is true."""
    scores = []
    for api, mode in GROUPS:
        for number in range(EVERY):
            about = circumstances(number)
            failed = [finding(rule, f"{api} {mode} {number}")] * holds(api, mode, number, about)
            scores.append(attempt(number, api, mode, [rule], failed, **about))
    return diagnose(check_results(scores, GROUPS), scores).causes[0].sentence


@pytest.mark.parametrize(
    ("features", "hit", "named"),
    [
        ({Feature("stop strings")}, {True}, "only requests with stop strings"),
        ({Feature("reasoning.effort")}, {False}, "only requests without reasoning.effort"),
        ({Feature("reasoning.effort", "low")}, {False}, None),
        ({Feature("seed")}, {True, False}, None),
    ],
)
def test_an_option_is_named_if_it_or_its_absence_separates_the_findings(features, hit, named):
    scores = []
    for number in range(EVERY):
        has = number // 2 % 7 == 0
        failed = [finding("reply.lost", f"chat streaming {number}")] * (has in hit)
        about = {"features": frozenset(features if has else ())}
        scores.append(attempt(number, "chat", "streaming", ["reply.lost"], failed, **about))
    told = diagnose(check_results(scores, GROUPS), scores).causes[0].sentence
    assert f"({named})" in told if named else "only" not in told


TOOLS, LIMIT = Feature("tools"), Feature("a token limit")


@pytest.mark.parametrize(
    ("kinds", "hit", "named"),
    [
        # Requests that differ in one property alone differ in the finding.
        (
            [(TOOLS, LIMIT), (TOOLS,), (LIMIT,), ()],
            lambda e: TOOLS in e,
            "(only requests with tools, ",
        ),
        # Two properties always occur together: both are named.
        (
            [(TOOLS, LIMIT), (), ()],
            lambda e: TOOLS in e,
            "(only requests with a token limit or requests with tools, ",
        ),
        # What decides is none of the properties: some requests with the limit never have it.
        ([(LIMIT,), (LIMIT,), (Feature("ids"),), ()], None, "(1 in 4 replies)"),
    ],
)
def test_a_condition_is_named_if_it_alone_decides_or_with_all_that_fit_equally(kinds, hit, named):
    scores = []
    for number in range(EVERY):
        kind = number // 2 % len(kinds)
        failed = hit(kinds[kind]) if hit else kind == 0
        made = [finding("reply.lost", f"chat streaming {number}")] * failed
        about = {"features": frozenset(kinds[kind])}
        scores.append(attempt(number, "chat", "streaming", ["reply.lost"], made, **about))
    told = diagnose(check_results(scores, GROUPS), scores).causes[0].sentence
    assert named.removesuffix(", ") in told
    assert ("only" in told) == ("only" in named)


def circumstances(number):
    """Every fifth pair of attempts has tools, every seventh is long, and the load grows."""
    features = {TOOLS} if number // 2 % 5 == 0 else set()
    size = 20 if number // 2 % 7 == 0 else 1
    began = float(number // 2 * 1000 + number % 10)
    return {"features": frozenset(features), "size": size, "began": began, "ended": began + 20}


@pytest.mark.parametrize(
    ("holds", "expected"),
    [
        (lambda *_: True, ""),
        (lambda api, *_: api == "chat", " (only chat)"),
        (lambda _, mode, *__: mode == "streaming", " (only streams)"),
        (lambda _, mode, *__: mode != "streaming", " (only non-streaming replies)"),
        (lambda *every: bool(every[3]["features"]), " (only requests with tools)"),
        (lambda *every: every[3]["size"] > 8, " (only requests above 8,000 characters)"),
        (lambda *every: every[2] % 10 < 4, " (in 40% of replies)"),
        (lambda api, _, number, __: api == "chat" and number % 10 in (4, 5),
         " (only chat, 1 in 5 replies)"),
        (lambda *every: every[2] % 2 == 0,
         " (in 50% of replies, the same request succeeds in other tries)"),
    ],
)  # fmt: skip
def test_a_cause_says_when_it_happens(holds, expected):
    title = COMPONENTS["output"].title.removesuffix(".")
    assert when(holds) == f"{title}{expected}."


@pytest.mark.parametrize(("hits", "named"), [(range(11, 50, 2), True), (range(10, 50), False)])
def test_load_is_named_if_the_same_request_is_right_under_less_of_it(hits, named):
    scores = []
    for number in range(EVERY):
        began = float(number) if 10 <= number < 60 and number % 2 else number * 1000.0 + 100
        failed = [finding("reply.lost", f"chat streaming {number}")] * (number in hits)
        about = {"began": began, "ended": began + 100}
        scores.append(attempt(number, "chat", "streaming", ["reply.lost"], failed, **about))
    cause = diagnose(check_results(scores, GROUPS), scores).causes[0]
    assert (UNDER_LOAD in cause.when) is named


def loaded(hits):
    """Scores in which the odd ones of 10 to 59 overlap, so that each begins under more load.

    `hits` has the rule that fails in an attempt, by its number.
    """
    for number in range(EVERY):
        began = float(number) if 10 <= number < 60 and number % 2 else number * 1000.0 + 100
        rules = sorted(set(hits.values()))
        failed = [finding(hits[number], f"chat streaming {number}")] if number in hits else []
        about = {"began": began, "ended": began + 100}
        yield attempt(number, "chat", "streaming", rules, failed, **about)


@pytest.mark.parametrize(("background", "named"), [(10, False), (0, True)])
def test_a_tolerated_share_elsewhere_is_no_condition(background, named):
    """Streams exceed the tolerance, complete replies have the problem half as often."""
    rule = "text.runaway"
    hits = {"streaming": (20, "warning"), "non-streaming": (background, "info")}
    scores = [
        attempt(number, "chat", mode, [rule], [
            finding(rule, f"chat {mode} {number}").model_copy(update={"severity": severity})
        ] * (number < times))
        for mode, (times, severity) in hits.items() for number in range(100)
    ]  # fmt: skip
    cause = diagnose(check_results(scores, GROUPS), scores).causes[0]
    assert ("only streams" in cause.sentence) == named


def test_the_heaviest_finding_tells_load_that_others_of_its_component_hide():
    hits = dict.fromkeys(range(11, 50, 2), "reply.lost")
    hits |= dict.fromkeys(range(10, 46, 2), "reasoning.missing")
    scores = list(loaded(hits))
    cause = diagnose(check_results(scores, GROUPS), scores).causes[0]
    assert set(cause.explains) == {"reply.lost", "reasoning.missing"}
    assert UNDER_LOAD in cause.when


def test_a_component_is_one_cause_with_the_remedies_of_its_findings():
    (cause,) = diagnose([probe("structured.place"), probe("cot.returned")]).causes
    assert set(cause.explains) == {"structured.place", "cot.returned"}
    assert all(RULES[rule].fix in cause.remedy for rule in cause.explains)


def test_the_apis_and_modes_of_probes_are_named_unless_chance_may_have_chosen_them():
    def of_chat(rule, count):
        counts = {"chat": (count, count), "responses": (0, count)}
        return probe(rule).model_copy(update={"counts": counts, "failures": count})

    title = COMPONENTS["history"].title.removesuffix(".")
    assert diagnose([of_chat("prompt.cot.kept", 1)]).causes[0].sentence == f"{title}."
    many = [of_chat("prompt.cot.kept", 4), of_chat("prompt.history", 1)]
    assert diagnose(many).causes[0].sentence == f"{title} (only chat)."
    streams = diagnose([probe("tools.arguments.list", modes=MODES[:1])]).causes[0]
    assert streams.when == (Occasion(kind="with", features=(Feature("mode", "streaming"),)),)


def test_the_heaviest_finding_comes_first():
    """Concurrent requests share a parser: one probe of two tries failed, and 87% of replies."""
    results, scores = run("reply.empty:0.87 finish.limit:0.4")
    found = diagnose([*results, probe("tools.choice.named", 0.5)], scores)
    assert found.causes[0].component == "output"
    assert found.worst_unexplained is None


@pytest.mark.parametrize("other", ["reply.lost:0.01", "stream.burst:1:w"])
def test_witnesses_decide_only_if_no_other_rule_failed(other):
    alone = causes("numerics.greedy")
    assert [each.component for each in alone] == ["sampling"]
    assert alone[0].when == (Occasion(kind="witness", rule="numerics.greedy"),)
    first = causes(f"numerics.greedy {other}")[0]
    assert first.component == ("sampling" if ":w" in other else "output")


@pytest.mark.parametrize(("others", "named"), [(0, False), (2, True)])
def test_one_reply_of_hundreds_names_no_cause(others, named):
    """Nor does a witness beside it: `numerics.greedy` fails too."""
    scores = [
        attempt(n, "chat", "streaming", ["reply.lost"],
                [finding("reply.lost", f"chat streaming {n}")] * (n <= others))
        for n in range(EVERY * 3)
    ]  # fmt: skip
    found = diagnose([*check_results(scores, GROUPS), probe("numerics.greedy")], scores)
    assert [each.component for each in found.causes] == ["output"] * named
    assert (found.worst_unexplained == "numerics.greedy") or named


def test_replies_of_other_requests_are_changed_texts_where_the_request_wants_one():
    rules = {0: ["reply.foreign"], 1: ["reply.foreign"], 2: ["text.changed"]}
    scores = [
        attempt(n, "chat", "non-streaming", {"reply.foreign", "text.changed"},
                [finding(rule, f"chat non-streaming {n}") for rule in rules.get(n % 5, ())])
        for n in range(EVERY)
    ]  # fmt: skip
    found = diagnose(check_results(scores, GROUPS), scores)
    assert [each.component for each in found.causes] == ["shared"]


def test_a_warning_of_a_witness_names_a_cause_if_nothing_else_was_found():
    (cause,) = causes("usage.input.differs:0.1:w")
    assert cause.component == "replicas"
    assert "by usage.input.differs" in cause.sentence


def test_the_worst_finding_is_named_if_it_is_a_witness_that_no_cause_explains():
    found = diagnose(*run("numerics.greedy reply.lost:0.01"))
    assert found.worst_unexplained == "numerics.greedy"
    assert "numerics.greedy" in found.unexplained


def test_a_witness_stands_behind_a_cause_that_no_model_makes():
    """Of two CoTs that are equal at two efforts, the server is the cause, however rare they are."""
    found = diagnose([*run("numerics.greedy")[0], probe("sampling.effort", 0.5)])
    assert [each.component for each in found.causes] == ["prompt"]
    assert found.unexplained == ("numerics.greedy",)
    assert found.worst_unexplained is None


def test_defects_of_prompts_change_probabilities_too():
    assert [each.component for each in causes("prompt.system numerics.logprobs")] == ["prompt"]
    assert [each.component for each in causes("numerics.logprobs")] == ["model"]


def test_another_model_explains_what_it_does_unless_its_prompts_differ():
    behaviour = "tools.results.used cot.used numerics.greedy"
    (cause,) = causes(f"numerics.logprobs {behaviour}")
    assert cause.component == "model"
    assert set(cause.explains) == {"numerics.logprobs", *behaviour.split()}
    assert causes(f"numerics.logprobs prompt.system {behaviour}")[0].component != "model"
    assert causes(behaviour)[0].component == "history"


@pytest.mark.parametrize(("received", "component"), [("refused", "refusals"),
                                                     ("failed", "failures"),
                                                     ("unrendered", "template"),
                                                     ("differs", "choice")])  # fmt: skip
def test_a_request_that_was_not_served_shows_nothing_else(received, component):
    found = diagnose([probe("tools.choice.named", received=received)])
    assert found.causes[0].component == component
    storage = diagnose([probe("state.previous_response", received=received)])
    assert storage.causes[0].component == "storage"


@pytest.mark.parametrize("rule", ["tools.choice.named", "errors.status"])
def test_an_unreadable_reply_to_a_probe_shows_nothing_else(rule):
    assert diagnose([probe(rule, received="unreadable")]).causes[0].component == "unreadable"


@pytest.mark.parametrize(("others", "component"), [(0, "logprobs"), (1, "model"), (20, "model")])
def test_an_engine_serves_both_apis(others, component):
    counts = {"chat": (20, 20), "responses": (others, 20)}
    numbers = probe("numerics.logprobs").model_copy(update={"counts": counts})
    assert diagnose([numbers]).causes[0].component == component
    prompts = probe("prompt.system").model_copy(update={"counts": counts})
    assert [each.component for each in diagnose([numbers, prompts]).causes] == ["prompt"]


@pytest.mark.parametrize(
    ("lost", "miscounted", "first"),
    [
        ((0, 40), (50, 53), "output"),  # a few wrong counts in other replies
        ((0, 40), (0, 40), "usage"),  # in the same
        ((0, 40), (50, 90), "usage"),  # as many in others
    ],
)
def test_lost_text_is_doubted_beside_wrong_counts_that_may_explain_it(lost, miscounted, first):
    ids = {"usage.output.lost": range(*lost), "usage.sum": range(*miscounted)}
    scores = [
        attempt(n, "chat", "streaming", ids,
                [finding(rule, f"chat streaming {n}") for rule, hit in ids.items() if n in hit])
        for n in range(EVERY)
    ]  # fmt: skip
    assert diagnose(check_results(scores, GROUPS), scores).causes[0].component == first


def test_a_cause_explains_what_its_fix_corrects_and_what_the_same_replies_have():
    (first,) = causes("reply.lost:0.5 harmony.cut:0.02 text.changed:0.5")
    assert set(first.explains) == {"reply.lost", "text.changed", "harmony.cut"}
    results, scores = run("reply.lost:0.3")
    cut = [attempt(n, "chat", "streaming", ["harmony.cut"],
                   [finding("harmony.cut", f"chat streaming {n}")] * (n > 90))
           for n in range(EVERY)]  # fmt: skip
    results = [*check_results([*scores, *cut], GROUPS)]
    (cause,) = diagnose(results, [*scores, *cut]).causes
    assert cause.explains == ("reply.lost", "harmony.cut")
    assert cause.remedy == f"{RULES['reply.lost'].fix} {RULES['harmony.cut'].fix}"


@pytest.mark.parametrize(
    ("others", "leads"),
    [("", True), ("chat.schema", True), ("chat.schema chat.choices chat.finish.tool_calls", False)],
)
def test_the_fix_of_one_finding_leads_only_among_few(others, leads):
    first = causes(f"reply.id {others}")[0]
    assert first.component == "format"
    assert first.remedy.startswith(RULES["reply.id"].fix) is leads
    assert first.remedy.startswith(COMPONENTS["format"].fix) is not leads


@pytest.mark.parametrize(("task", "first"), [("limits", "text"), ("structured", "structured")])
def test_a_probe_inherits_what_its_replies_share_with_others(task, first):
    failing = (FailingRequest("chat", "s1"), FailingRequest("chat", "s2"))
    followed = probe("structured.followed").model_copy(update={"failing": failing})
    scores = [
        attempt(number, "chat", "non-streaming", ["text.changed"],
                [finding("text.changed", f"chat non-streaming {number}")] * (number < 16), group)
        for group, numbers in (("structured", (2, 4)), (task, range(10, 50)))
        for number in numbers
    ]  # fmt: skip
    assert diagnose([*check_results(scores, GROUPS), followed], scores).causes[0].component == first


@pytest.mark.parametrize(
    ("broken", "streamed", "claimed"),
    [("calls.lost", 4, True), ("calls.lost", 2, False), ("chat.stream.done", 4, False)],
)
def test_a_cause_claims_only_findings_that_are_mostly_in_its_replies(broken, streamed, claimed):
    """Half of the replies to a probe are streams, whatever its defect.

    A stream without `[DONE]` has its text and its calls, and so explains no choice of tools.
    """
    ignored = probe("tools.choice.none").model_copy(
        update={"failing": (FailingRequest("chat", "s1"),)}
    )
    scores = [
        attempt(number, "chat", "streaming", [broken],
                [finding(broken, f"chat streaming {number}")] * (number < streamed or number > 3),
                "tools.choice" if number < 4 else "limits")
        for number in range(40)
    ]  # fmt: skip
    scores = [replace(each, sample="s1") if at < 4 else each for at, each in enumerate(scores)]
    first, *_ = diagnose([*check_results(scores, GROUPS), ignored], scores).causes
    assert ("tools.choice.none" in first.explains) is claimed


def test_a_cause_claims_no_rule_of_another_mechanism_in_the_same_replies():
    first, second = causes("reply.lost:0.3 responses.status:0.1 tools.choice.named:0.1")[:2]
    assert "responses.status" not in first.explains
    assert (first.component, second.component) == ("output", "ends")


def test_a_finding_in_single_replies_joins_the_cause_of_the_same_replies():
    assert causes("stream.cut:0.3 reply.lost:0.01:s")[0].explains == ("stream.cut", "reply.lost")


def test_counts_that_do_not_fit_a_text_explain_no_probe():
    failing = (FailingRequest("chat", "s1"), FailingRequest("chat", "s2"))
    followed = probe("structured.followed").model_copy(update={"failing": failing})
    rule = "usage.output.lost"
    scores = [
        attempt(number, "chat", "non-streaming", [rule],
                [finding(rule, f"chat non-streaming {number}")] * (number < 16), group)
        for group, numbers in (("structured", (2, 4)), ("limits", range(10, 200)))
        for number in numbers
    ]  # fmt: skip
    first = diagnose([*check_results(scores, GROUPS), followed], scores).causes[0]
    assert first.component == "structured"


def test_a_served_request_that_the_model_does_not_see_is_not_refused():
    (cause,) = diagnose([probe("clients.encrypted_cot", path="$.usage")]).causes
    assert cause.component == "history"


@pytest.mark.parametrize(("check", "inherited"), [("chat.schema", False),
                                                  ("usage.sum", True)])  # fmt: skip
def test_only_wrong_counts_change_the_counts_of_prompts(check, inherited):
    special = probe("prompt.special", path="$.usage")
    special = special.model_copy(update={"failing": (FailingRequest("chat", "s1"),)})
    scores = [
        attempt(
            at, "chat", "non-streaming", [check], [finding(check, f"chat non-streaming {at}")], task
        )
        for at, task in ((2, "prompt"), (4, "limits"))
    ] + [attempt(number, "chat", "non-streaming", [check]) for number in range(10, 30)]
    found = diagnose([*check_results(scores, GROUPS), special], scores)
    assert (found.causes[0].component == "usage") is inherited


def test_independent_defects_are_separate_causes_errors_first():
    errors = "usage.sum usage.sum:1:w builtin.shown chat.finish.tool_calls long.answered"
    found = causes(f"{errors} errors.status:1:w")
    assert len(found) == MOST_CAUSES
    assert len({each.remedy for each in found}) == MOST_CAUSES


def test_beside_errors_a_warning_has_no_cause_of_its_own():
    assert [each.component for each in causes("usage.sum stream.burst:1:w")] == ["usage"]
    assert [each.component for each in causes("stream.burst:1:w")] == ["events"]
    assert [each.component for each in causes("reply.lost:0.01 stream.burst:1:w")] == ["output"]


def test_the_fix_is_that_of_the_rule():
    fixes = {
        rule: causes(rule)[0].remedy
        for rule in ("harmony.remains", "reasoning.in_answer", "state.previous_response.tools",
                     "state.previous_response", "stop.kept", "stop.kept",
                     "finish.limit", "limits.max_completion_tokens",
                     "prompt.tool.with_system", "prompt.system")
    }  # fmt: skip
    assert len(set(fixes.values())) == len(fixes)


def test_rules_that_judged_nothing_are_no_evidence():
    skipped = [RuleResult(check=RULES["usage.sum"].about, status="not_verifiable", reasons=())]
    assert diagnose(skipped) is None
    component = ComponentFault(component="engine", text="The engine is at fault.")
    assert diagnose(skipped, (), (component,)).components == (component,)


def test_an_example_is_shown_only_if_its_own_rule_is_the_heaviest():
    (cause,) = causes("structured.reasoning")
    assert cause.examples == (known_defect("structured.reasoning"),)
    assert causes("structured.followed")[0].examples == ()


def test_every_rule_declares_a_component_and_short_fixes():
    for rule in RULES:
        about = RULES[rule]
        fix = about.fix or COMPONENTS[about.component].fix
        assert fix.endswith("."), rule
        assert len(fix) <= LONGEST_FIX, rule
    for component in COMPONENTS.values():
        assert {*component.after, *component.follows, *component.leads_to} <= set(COMPONENTS)
        assert component.title.endswith(".")
        assert component.effect.endswith(".")


@pytest.mark.parametrize(
    ("rule", "component"), [("reply.stored", "cache"), ("reply.foreign", "tools")]
)
def test_stored_replies_explain_what_fails_in_every_reply(rule, component):
    """Replies that are mixed up now and then do not."""

    def proven(result):
        examples = [each.model_copy(update={"proven": True}) for each in result.examples]
        return result.model_copy(update={"examples": tuple(examples)})

    results, scores = run(f"{rule}:0.1:s prompt.tool.schema.order finish.limit:0.02:s")
    results = [proven(each) if each.check.id == rule else each for each in results]
    assert diagnose(results, scores).causes[0].component == component
