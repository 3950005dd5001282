"""Golden files: creation, storage, and comparison."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony.parse import CALL, CHANNEL, END, MESSAGE, RETURN, START
from harmony.vocabulary import bytes_of, harmony_encoding
from harness.api.items import Reply, ToolCall
from harness.api.logprob_entries import entry_bytes
from harness.errors import ConfigurationError, RunLogError
from harness.golden import create, files
from harness.golden.content import Continuation, Token
from harness.golden.create import DEFECTS, HEALTHY
from harness.golden.distance import ReportedToken, compare, distance
from harness.golden.divergence import divergence
from harness.golden.trusted_engines import Head, ReferenceEngine
from harness.records.runs import RunInfo, TaskInfo
from harness.rules.numerics import golden_prompts
from reference_engine.scoring import identity
from reference_engine.small import SMALL_CHECKPOINT


def test_the_shipped_file_belongs_to_the_shipped_checkpoint():
    golden = files.shipped()
    remade = "has changed since: make golden"
    assert golden.weights_sha256 == identity(SMALL_CHECKPOINT), f"the checkpoint {remade}"
    assert golden.requests_sha256 == golden_prompts.fingerprint(), f"what is asked {remade}"
    assert [run.numbers for run in golden.healthy] == list(HEALTHY)
    assert {pattern.defect for pattern in golden.patterns} <= set(DEFECTS)
    assert golden.command.startswith("gpt-oss-verify golden create")


def test_a_golden_file_fits_models_by_name():
    assert files.fitting("gpt-oss-small") is files.fitting("local/gpt-oss-small") is not None
    assert files.fitting("openai/gpt-oss-20b") is None


def test_an_invalid_file_is_rejected_with_a_reason(tmp_path):
    path = tmp_path / "golden.json"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        files.load(path)
    path.write_text("null")
    with pytest.raises(ConfigurationError, match=r"not a golden file .*should be an object"):
        files.load(path)
    path.write_text('{"models": 7}')
    with pytest.raises(ConfigurationError, match=r"not a golden file .*\(models: .*golden create"):
        files.load(path)


def test_a_run_keeps_its_golden_file(tmp_path):
    content = files.serialized(files.shipped()).encode()
    (tmp_path / "golden.json").write_bytes(content)
    assert files.kept(tmp_path, run_with(sha256(content).hexdigest())) == files.shipped()
    with pytest.raises(RunLogError, match="was changed after the run"):
        files.kept(tmp_path, run_with("0" * 64))


def run_with(digest):
    """The part of `run.json` about a golden file."""
    return RunInfo.model_construct(tasks=(TaskInfo.model_construct(files={"golden.json": digest}),))


def tokens(*parts):
    """Tokens of (text, part), each certain except for a given alternative and gap."""
    made = []
    for text, part, *rival in parts:
        ids = [text] if isinstance(text, int) else harmony_encoding().encode(text)
        for each in ids:
            top = [(each, -0.01), (RETURN if each != RETURN else END, -9.0)]
            if rival:
                other, gap = rival
                top.insert(1, (harmony_encoding().encode(other)[0], -0.01 - gap))
            made.append(Token(each, part, tuple(top)))
    return made


HEAD = [(CHANNEL, "marker"), ("analysis", "marker"), (MESSAGE, "marker")]
TURN = [(END, "marker"), (START, "marker"), ("assistant", "marker"), (CHANNEL, "marker")]
THOUGHT = ("Hm, so.", "reasoning")
ANSWER = [
    *HEAD,
    THOUGHT,
    *TURN,
    ("final", "marker"),
    (MESSAGE, "marker"),
    (" blue", "answer", " red", 0.25),
    (" sky", "answer", " sea", 4.0),
    (RETURN, "marker"),
]


def reply(text="", reasoning="Hm, so.", calls=()):
    return Reply(reasoning, text, calls, "stop", None, {})


SAME = ["blue sky", " blue sky", " blue sky "]


@pytest.mark.parametrize("text", SAME)
def test_surrounding_whitespace_is_not_a_divergence(text):
    assert divergence(tokens(*ANSWER), reply(text), ended=True) is None


DIVERGENT = {
    "an unlikely token": (reply(" blue sea"), 4.0),
    "a likely one": (reply(" red sky"), 0.25),
    "one that was never listed": (reply(" blue moon"), 8.99),
    "an early end": (reply(" blue"), 8.99),
    "more text": (reply(" blue sky!"), 8.99),
    "another thought": (reply(" blue sky", reasoning="Hm, no."), 8.99),
}


@pytest.mark.parametrize(("other", "gap"), DIVERGENT.values(), ids=DIVERGENT)
def test_the_gap_of_a_divergence_is_measured(other, gap):
    assert divergence(tokens(*ANSWER), other, ended=True).gap == pytest.approx(gap)


def test_truncated_replies_do_not_diverge():
    golden = tokens(*ANSWER)
    assert divergence(golden, reply(" blue"), ended=False) is None
    assert divergence(golden, reply(), ended=False) is None
    assert divergence(golden[:-1], reply(" blue sky and more"), ended=True) is None
    assert divergence(golden[:6], reply(" blue sky"), ended=True) is None


@pytest.mark.parametrize("golden", ['{"a": "é", "b": [1, 2]}', '{"a":"é","b":[1,2]}'])
@pytest.mark.parametrize(
    "came", ['{"a":"é","b":[1,2]}', '{"a": "\\u00e9", "b": [1, 2]}', '{"a": "é", "b": [1, 2]}']
)
def test_reserialized_arguments_are_not_a_divergence(golden, came):
    header = [*TURN, ("commentary", "marker"), (MESSAGE, "marker")]
    due = tokens(*HEAD, THOUGHT, *header, (golden, "call"), (CALL, "marker"))
    assert divergence(due, reply(calls=(ToolCall("1", "f", came),)), ended=True) is None
    found = divergence(due, reply(calls=(ToolCall("1", "f", came.replace("2", "3")),)), ended=True)
    assert "2" in found.expected


@pytest.mark.parametrize("raw", [[72.0, 105.0], [True], ["H"], [300]])
def test_invalid_bytes_fall_back_to_the_text(raw):
    assert entry_bytes({"token": "Hi", "bytes": raw}) == b"Hi"


def test_a_call_instead_of_an_answer_is_judged_by_the_header():
    header = [*TURN, ("commentary", "marker", "final", 0.5), (MESSAGE, "marker")]
    golden = tokens(*HEAD, THOUGHT, *header, ('{"a": 1}', "call"), (CALL, "marker"))
    assert divergence(golden, reply("It is 1."), ended=True).gap == pytest.approx(0.5)


def entries(golden, shift=0.0):
    return [
        ReportedToken(bytes_of(t.id), {bytes_of(each): value + shift for each, value in t.top})
        for t in golden
    ]


def test_tokens_are_compared_up_to_the_first_different_one():
    golden = tokens(("one two three four", "answer"))
    said = entries(tokens(("one two", "answer"), (" drei", "answer"), (" four", "answer")))
    assert [each.agrees for each in compare(golden, said)] == [True, True, False]
    said[1] = ReportedToken(b" zwei", said[1].top)
    assert [each.at for each in compare(golden, said)] == [0, 1]
    assert len(compare(golden, entries(golden))) == 4


def test_only_tokens_of_the_answer_are_compared():
    golden = tokens(*ANSWER)
    compared = compare(golden, entries(golden, 0.5))
    assert [golden[each.at].part for each in compared] == ["answer", "answer"]
    assert [value for each in compared for value in each.changes] == pytest.approx([0.5] * 6)


@given(st.floats(0.001, 5.0))
def test_a_constant_shift_is_the_distance(shift):
    golden = tokens(("one two three four", "answer"))
    found = distance(compare(golden, entries(golden, -shift)))
    assert (found.median, found.p99) == (pytest.approx(shift), pytest.approx(shift))
    assert found.agreement == 1


def head_of(engine):
    """What an engine says of itself."""
    faults = (f"{engine.fault}!",)
    exact, date = engine.fault is None, engine.current_date
    return Head("engine 1", engine.dtype, "0f", faults, exact=exact, current_date=date)


def test_create_learns_the_tolerance_from_healthy_runs(monkeypatch):
    asked = []

    def answers(engine, questions, changes=()):
        options = replace(engine, **dict(changes))
        asked.append(options)
        noise = 0.1 if options.dtype == "bfloat16" else 0.0
        noise *= 5 if options.fault == "kv-cache-fp8" else 1
        noise += 0.7 if options.fault == "yarn-rounded" else 0
        golden = tokens(*ANSWER)
        shifted = tuple(
            Token(t.id, t.part, tuple((each, value - noise) for each, value in t.top))
            for t in golden
        )
        return head_of(options), {q.id: Continuation.of(70, shifted) for q in questions}

    monkeypatch.setattr(ReferenceEngine, "answers", answers)
    options = ReferenceEngine(dtype="float32")
    golden = create.create(
        ["m"], options, golden_prompts.requests(), lambda _: None, "golden create"
    )
    healthy = asked[1 : 1 + len(HEALTHY)]
    assert healthy == [replace(options, **changes) for changes in HEALTHY.values()]
    assert golden.exact_tolerance.p95 == pytest.approx(0.2)
    assert golden.exact_tolerance.request_p95 == pytest.approx(0.2)  # None was long enough.
    assert golden.exact_tolerance.gap == pytest.approx(0.2 * 2**0.5)
    assert (golden.tolerance.p95, golden.engine) == (pytest.approx(1.0), "engine 1")
    [pattern] = golden.patterns  # The other defects have no effect.
    assert (pattern.defect, pattern.text) == ("yarn-rounded", "yarn-rounded!")
    assert (pattern.changes["copy"][-3], pattern.changes["copy"][0]) == ((-700, -700, -700), ())
    assert golden.drawn["drawn 1"].texts == ("Hm, so.\nblue sky",) * create.DRAWS
    assert list(golden.continuations["copy"].tokens())[-2] == tokens(*ANSWER)[-2]


@pytest.mark.parametrize("date", [None, "2026-11-23"])
def test_a_complete_file_also_answers_dated_and_long_prompts(date, monkeypatch):
    def answers(engine, questions, changes=()):
        options = replace(engine, **dict(changes))
        tokens_before = 70 + (11 if options.current_date else 0)
        answer = tuple(tokens(*ANSWER))
        noise = 0.1 if options.max_context is None and options.dtype == "bfloat16" else 0.0
        noisy = tuple(
            replace(t, top=tuple((each, value - noise) for each, value in t.top)) for t in answer
        )
        return head_of(options), {q.id: Continuation.of(tokens_before, noisy) for q in questions}

    monkeypatch.setattr(ReferenceEngine, "answers", answers)
    options = ReferenceEngine(dtype="float32", current_date=date)
    requests = golden_prompts.requests(), golden_prompts.long_requests()
    golden = create.create_all(["m"], options, *requests, lambda _: None, "golden create")
    assert golden.long.continuations.keys() == requests[1].greedy.keys()
    assert golden.long.tolerance.gap == golden.tolerance.gap > 0  # long replies have no near-ties
    if date is None:
        assert golden.dated.continuations["copy"].prompt_tokens == 81
        assert [run.numbers for run in golden.dated.healthy] == list(create.HEALTHY_DATED)
    else:
        assert golden.dated is None
        assert golden.current_date == date


def test_a_token_that_rounding_changes_is_not_evidence(monkeypatch):
    def answers(engine, questions, changes=()):
        options = replace(engine, **dict(changes))

        def noisy(question, token):
            flips = question.id == "copy" and token.part == "answer"
            noise = (5.0 if flips else 0.1) if options.dtype == "bfloat16" else 0.0
            return replace(token, top=tuple((each, value - noise) for each, value in token.top))

        return head_of(options), {
            question.id: Continuation.of(70, [noisy(question, t) for t in tokens(*ANSWER)])
            for question in questions
        }

    monkeypatch.setattr(ReferenceEngine, "answers", answers)
    options = ReferenceEngine(dtype="float32")
    golden = create.create(["m"], options, golden_prompts.requests(), lambda _: None, "")
    assert golden.tolerance.p99 == pytest.approx(0.2)
    due = list(golden.continuations["copy"].tokens())
    assert [token.steady for token in due[-3:]] == [False, False, True]
    assert all(token.steady for token in golden.continuations["list"].tokens())
    assert compare(due, entries(due, 3.0)) == []
    assert divergence(due, reply(" blue sea"), ended=True).gap == 0
