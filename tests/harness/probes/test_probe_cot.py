"""Probes of CoT and stored responses with simulated prompts."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from healthy import json_response
from probing import Served, judged, prove, refusal
from replies import Reply, chat_whole, responses_whole

from harness.api.items import ConversationItem, Message, Reasoning, ToolCall, ToolResult
from harness.records.conditions import Api
from harness.records.rollouts import Response
from harness.rules.cot import probes as cot
from harness.rules.evidence.rendering import Prompt, Rendering, count
from harness.rules.probe import ProbeRequest
from harness.rules.state import previous_response_probes as state
from harness.run.attempts import Attempt

SEEN = Reply(text="The code word is {}.", reasoning="I recall it.")
UNSEEN = Reply(text="I do not know the code word.", reasoning="Nobody gave one.")
CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'))


def kept(turns: tuple[ConversationItem, ...]) -> tuple[ConversationItem, ...]:
    """A conversation without stale CoT."""
    finals = [at for at, t in enumerate(turns) if isinstance(t, Message) and t.role == "assistant"]
    last = max(finals, default=-1)
    return tuple(t for at, t in enumerate(turns) if at > last or not isinstance(t, Reasoning))


def reader(
    prompt: Callable[[tuple[ConversationItem, ...]], tuple[ConversationItem, ...]] = kept,
) -> Any:
    """A model that only knows the code words in its prompt."""

    def provider(request: ProbeRequest, _: Attempt) -> Reply | list[Reply]:
        if request.id == "own":
            return [CALL, Reply(text="It is 21 degrees."), UNSEEN]
        known = " ".join(str(turn) for turn in prompt(request.turns))
        word = next((word for word in request.id.split() if word in known), None)
        return replace(SEEN, text=f"The code word is {word}.") if word else UNSEEN

    return provider


def without_cot(turns: tuple[ConversationItem, ...]) -> tuple[ConversationItem, ...]:
    return tuple(turn for turn in turns if not isinstance(turn, Reasoning))


def only_latest_cot(turns: tuple[ConversationItem, ...]) -> tuple[ConversationItem, ...]:
    thoughts = [turn for turn in turns if isinstance(turn, Reasoning)]
    return tuple(t for t in kept(turns) if not isinstance(t, Reasoning) or t is thoughts[-1])


def across_calls(said: Reply, tokens: int) -> Any:
    """A model that says this instead of the code word where the CoT is kept across calls."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id == "own":
            return [replace(CALL, prompt=100), SEEN, UNSEEN]
        across = request.id.startswith("kept across")
        return replace(said, prompt=tokens) if across else reader()(request, attempt)

    return provider


def leaking_once(request: ProbeRequest, attempt: Attempt) -> Any:
    leaky = request.id.startswith("stale zulu")
    return (reader(lambda turns: turns) if leaky else reader())(request, attempt)


def forgetful(request: ProbeRequest, attempt: Attempt) -> Any:
    """A model that repeats no code word."""
    return reader()(request, attempt) if request.id == "own" else UNSEEN


def silent(names: tuple[str, ...], *, wrote: bool = True) -> Any:
    """A provider that loses the CoT of some replies, or whose model writes none."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        said = reader()(request, attempt)
        if not request.id.startswith(names):
            return said
        return replace(said, reasoning="", wrote=3 * said.text if wrote else None)

    return provider


def summarizing(request: ProbeRequest, attempt: Attempt) -> Any:
    """A server whose CoT is in summaries."""
    said = reader()(request, attempt)
    if attempt.condition.api == "chat" or not isinstance(said, Reply) or said.call:
        return said
    body = responses_whole(said)
    for item in body["output"]:
        if item["type"] == "reasoning":
            item["summary"] = [{"type": "summary_text", "text": item.pop("content")[0]["text"]}]
    return json_response(body)


def refusing(unwanted: Callable[[ProbeRequest], bool], status: int = 400) -> Any:
    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        return refusal(status) if unwanted(request) else reader()(request, attempt)

    return provider


# --- Stored responses

_REFUSED = ("unknown", "compacted", "compacted before")


def stored(counts: tuple[int, int], second: Response | None = None, keeps: bool = True) -> Any:
    """A provider that reports these prompt tokens for the first and second reply."""

    def whole(reply: Reply, tokens: int, api: Api) -> Response:
        body = chat_whole(reply) if api == "chat" else responses_whole(reply) | {"store": keeps}
        body["usage"] |= {"input_tokens": tokens, "total_tokens": tokens + 20}
        return json_response(body)

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id in _REFUSED or request.follow is not None:
            return refusal(404)
        first = CALL if request.id == "called" else SEEN
        if request.id == "unkept":
            return [first, refusal(404)]
        if attempt.condition.streaming:
            return [first, replace(SEEN, text="Yes.")]
        return [whole(first, counts[0], "responses"), second or whole(SEEN, counts[1], "responses")]

    return provider


def streams_pass(provider: Any) -> Any:
    """Results without streams, because the simulated streams share their counts."""
    return lambda request, attempt: (
        [refusal()] if attempt.condition.streaming else provider(request, attempt)
    )


def told(third: int) -> Any:
    """A server whose third prompt of a chain has these tokens."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        said = stored((60, 90))(request, attempt)
        if request.id != "told":
            return said
        body = responses_whole(SEEN)
        body["usage"] |= {"input_tokens": third, "total_tokens": third + 20}
        return [*said, json_response(body)]

    return provider


def losing(lost: Callable[[ProbeRequest, Attempt], bool]) -> Any:
    """A server that does not find some responses that it issued."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        said = stored((60, 90))(request, attempt)
        return [said[0], refusal(404)] if lost(request, attempt) else said

    return provider


def continued(
    *,
    keeps_cot: bool = True,
    keeps_answer: bool = True,
    instructions: str = "new",
    tools: str = "new",
    call: tuple[str, str] | None = CALL.call,
    summed: bool = False,
    stale: str = "",
    without_channel: bool = False,
    reads: bool = True,
    copies: Callable[[Prompt, tuple[Any, ...]], tuple[Any, ...]] = lambda _prompt, _added: (),
) -> Any:
    """A provider that stores replies and counts the tokens of the prompt that it renders.

    It may keep `stale` CoT before an answer, and render the answer without its channel. It may not
    read instructions at all. `copies` are put before the conversation that is continued.
    """

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id in _REFUSED or request.follow is not None:
            return refusal(404)
        if attempt.condition.streaming:
            return [refusal()]
        answered = replace(SEEN, reasoning=stale) if stale else SEEN
        first = replace(CALL, call=call) if request.id == "called" else answered
        if request.id == "unkept":
            return [first, refusal(404)]
        texts = [Message("developer", text) for text in (request.instructions,) if text and reads]
        before = Prompt((*texts, *request.turns), request.tools)
        thought = (Reasoning(first.reasoning),) if keeps_cot and request.id == "called" else ()
        if request.id == "called":
            sent = ToolCall("call_1", *(first.call or ("", "")))
            added: tuple[Any, ...] = (*thought, sent, ToolResult("call_1", request.tools[0].output))
        else:
            answer = (Message("assistant", first.text or ""),) if keeps_answer else ()
            kept = (Reasoning(stale),) if stale else ()
            added = (*kept, *answer, Message("user", request.then[0]))
        used = {"new": [request.later_instructions], "old": [request.instructions], "none": []} | {
            "both": [request.instructions, request.later_instructions]
        }
        later = [Message("developer", text) for text in used[instructions] if text and reads]
        replaced = request.tools if request.later_tools is None else request.later_tools
        offers = {"new": replaced, "old": request.tools, "none": ()} | {
            "both": (*request.tools, *replaced)
        }
        offered = replaced if replaced == request.tools else offers[tools]
        after = Prompt((*later, *copies(before, added), *request.turns, *added), offered)
        counts = [count(each, Rendering()) + 9 for each in (before, after)]
        if summed:
            counts[1] += counts[0]
        counts[1] -= 2 * (without_channel and request.id != "called")
        replies = [responses_whole(reply) for reply in (first, SEEN)]
        for body, tokens in zip(replies, counts, strict=True):
            body["usage"] |= {"input_tokens": tokens, "total_tokens": tokens + 20}
        return list(map(json_response, replies))

    return provider


def unknown(said: Any, provider: Any = None) -> Any:
    """A server with this answer to an id that nobody issued."""
    return lambda request, attempt: (
        said if request.id == "unknown" else (provider or continued())(request, attempt)
    )


def whole_copy(prompt: Prompt, added: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*prompt.turns, *added[:-1])


def answering(name: str, *answers: Any) -> Any:
    """A healthy provider, except for the answers to one request."""
    return lambda request, attempt: (
        list(answers) if request.id == name else continued()(request, attempt)
    )


def long_reply(*kinds: str, tokens: int = 2_300) -> Response:
    body = responses_whole(SEEN)
    body["output"] = [*({"type": kind, "id": f"{kind}_1"} for kind in kinds), *body["output"]]
    body["usage"] |= {"input_tokens": tokens, "total_tokens": tokens + 20}
    return json_response(body)


def in_background(retrieved: Any) -> Any:
    """A server whose background responses are completed at once."""
    done = json_response(responses_whole(SEEN) | {"background": True, "status": "completed"})
    return lambda request, attempt: (
        [done, retrieved or done]
        if request.id in ("background", "cancelled")
        else continued()(request, attempt)
    )


THOUGHT = "There is no table of tides for Horta here, so I cannot say when it is high there."


def thinking_only(counted: bool) -> Response:
    """A reply whose text is its CoT, although the model wrote it once."""
    whole = chat_whole(Reply(text="", reasoning=THOUGHT))
    whole["choices"][0]["message"]["content"] = THOUGHT
    if not counted:
        del whole["usage"]
    return json_response(whole)


PAGE = Response(status=200, headers={"content-type": "text/html"}, body="<h1>Bad Gateway</h1>")
KNOWS = json_response(responses_whole(Reply(text="The code word is Orchid596.")))
SORRY, UNKNOWN = Reply(text="I’m sorry, but I can’t share that."), "not_verifiable"
ACCEPTED, USED, ACROSS = "cot.accepted", "cot.used", "cot.used.across_calls"
_COT: dict[str, tuple[Any, dict[str, str]]] = {
    "no CoT arrives": (reader(without_cot), {USED: "failed", ACROSS: "failed"}),
    "the latest CoT alone arrives": (reader(only_latest_cot), {ACROSS: "failed"}),
    "stale CoT is kept": (reader(lambda turns: turns), {"cot.dropped": "failed"}),
    "one stale CoT is kept": (leaking_once, {"cot.dropped": "failed: zulu4182"}),
    "no code word is repeated": (
        forgetful,
        {**dict.fromkeys((USED, ACROSS, "cot.dropped"), UNKNOWN), ACCEPTED: "passed"},
    ),
    "the model calls again": (across_calls(CALL, 0), {ACROSS: UNKNOWN}),
    "the model refuses": (across_calls(SORRY, 100 + 120), {ACROSS: UNKNOWN}),
    "the prompt lacks the CoT": (across_calls(SORRY, 100 + 103), {ACROSS: "failed"}),
    "a CoT is missing once": (silent(("told zulu",)), {}),
    "CoT is missing": (
        silent(("told",)),
        {"cot.returned": "failed", "cot.returned.unasked": "failed"},
    ),
    "the model writes no CoT": (silent(("told",), wrote=False), {}),
    "CoT is in a summary": (summarizing, {"cot.returned": "failed: in a summary"}),
    "CoT beside text gets 500": (
        refusing(lambda request: request.id.startswith("beside text"), 500),
        {"cot.accepted.beside_text": "failed"},
    ),
    "CoT gets 500": (
        refusing(lambda request: request.id.startswith("kept"), 500),
        {ACCEPTED: "failed", USED: UNKNOWN, ACROSS: UNKNOWN},
    ),
    # Two gateways drop or refuse a call after a message of the user.
    "calls are refused": (refusing(lambda request: bool(request.tools)), {ACCEPTED: "passed"}),
}
_PREVIOUS = "state.previous_response"
_STORED: dict[str, tuple[Any, dict[str, str]]] = {
    "prompts grow": (stored((60, 90)), {_PREVIOUS: "passed"}),
    "prompts shrink": (stored((60, 12)), {_PREVIOUS: "failed", "state.conversation": "failed"}),
    "the third prompt grows": (told(120), {_PREVIOUS: "passed"}),
    "the third prompt shrinks": (told(70), {_PREVIOUS: "failed"}),
    "an id is lost in one request": (losing(lambda r, _: r.id == "offered"), {_PREVIOUS: "failed"}),
    "a page": (stored((60, 90), PAGE), {_PREVIOUS: UNKNOWN}),
    "the word is known": (stored((60, 12), KNOWS), {_PREVIOUS: "passed"}),
    "404 of what is stored": (stored((60, 0), refusal(404)), {_PREVIOUS: "failed"}),
    "404 of what is not": (stored((60, 0), refusal(404), keeps=False), {_PREVIOUS: UNKNOWN}),
    "400": (stored((60, 0), refusal(400)), {_PREVIOUS: UNKNOWN}),
    "501": (  # Dynamo 1.6, for every request with previous_response_id
        unknown(refusal(501), stored((60, 0), refusal(501), keeps=False)),
        {_PREVIOUS: UNKNOWN, f"{_PREVIOUS}.unknown": UNKNOWN},
    ),
    "an unknown id is answered": (unknown(SEEN), {f"{_PREVIOUS}.unknown": "failed"}),
    "an unknown id gets 500": (unknown(refusal(500)), {f"{_PREVIOUS}.unknown": "failed"}),
    "tokens are summed": (continued(summed=True), {f"{_PREVIOUS}.usage": "failed"}),
    # Hermes Agent 0.21 repeats the user's message, or all of them.
    "a message is twice": (
        continued(copies=lambda prompt, _: prompt.turns),
        {f"{_PREVIOUS}.once": "failed: is twice", f"{_PREVIOUS}.instructions": "failed"},
    ),
    "all messages are twice": (
        continued(copies=whole_copy),
        {f"{_PREVIOUS}.once": "failed: is twice"},
    ),
    "all messages are there three times": (
        continued(copies=lambda *given: whole_copy(*given) * 2),
        {f"{_PREVIOUS}.once": "failed: has more than"},
    ),
    "a notice and a copy": (
        continued(copies=lambda prompt, _: (Message("user", "Keep this. " * 40), *prompt.turns)),
        {f"{_PREVIOUS}.once": "failed: has more than"},
    ),
    "a long stale CoT": (continued(stale="and so " * 60), {f"{_PREVIOUS}.once": "passed"}),
    **{
        f"a conversation gets {name}": (
            answering("conversation", *answers),
            {"state.conversation": status},
        )
        for name, answers, status in (  # Hermes Agent keeps named ones, OpenAI refuses others.
            ("400", [refusal(400)], "passed"),
            ("404", [refusal(404)], "passed"),
            ("500", [refusal(500)], "failed"),
            ("longer", [long_reply(tokens=60), long_reply(tokens=95)], "passed"),
            ("shorter", [long_reply(tokens=60), long_reply(tokens=20)], "failed"),
        )
    },
    **{
        f"compaction: {name}": (answering("compacted", answer), {"state.compaction": status})
        for name, answer, status in (
            ("400", refusal(400), "passed"),
            ("500", refusal(500), "warned"),
            ("an item", long_reply("compaction"), "passed"),
            ("an item and a short prompt", long_reply("compaction", tokens=300), "passed"),
            ("a short prompt", long_reply(tokens=300), "passed"),
            ("none", long_reply(), "warned"),
        )
    },
    **{
        f"a compaction item gets {name}": (
            answering("compacted before", answer),
            {"state.compaction.item": status},
        )
        for name, answer, status in (
            ("400", refusal(400), "passed"),
            ("500", refusal(500), "failed"),
            ("an answer", SEEN, "failed"),
        )
    },
    **{
        f"a background response, then {name}": (in_background(then), {"state.background": "passed"})
        for name, then in (("405", refusal(405)), ("404", refusal(404)), ("itself", None))
    },
    **{
        f"{used} instructions": (
            continued(instructions=used),
            {f"{_PREVIOUS}.instructions": "failed"},
        )
        for used in ("old", "none", "both")
    },
    "no instructions are read": (
        continued(reads=False),
        {
            _PREVIOUS: "passed",
            f"{_PREVIOUS}.instructions": UNKNOWN,
            "state.retrieved": UNKNOWN,
            "state.background": UNKNOWN,
        },
    ),
    **{
        f"no channel behind {words} words of CoT": (
            continued(stale="and " * words, without_channel=True),
            {},
        )
        for words in range(1, 25)
    },
}
SERVERS: Served = {
    **{name: (cot.GROUP, *row) for name, row in _COT.items()},
    **{
        f"stored: {name}": (state.GROUP, streams_pass(provider), found, ["responses"])
        for name, (provider, found) in _STORED.items()
    },
    "streams are not stored": (
        state.GROUP,
        losing(lambda _, attempt: attempt.condition.streaming),
        {_PREVIOUS: "failed"},
        ["responses"],
    ),
    **{
        f"unstored, then {name}": (
            state.GROUP,
            lambda request, _, second=second: (
                [SEEN, second] if request.id == "unkept" else refusal(404)
            ),
            {"state.unstored": status},
            ["responses"],
        )
        for name, second, status in (
            ("404", refusal(404), "passed"),
            ("no word", Reply(text="I do not know any code word."), "passed"),
            ("the word", Reply(text="It is orchid596."), "failed"),
        )
    },
    **{
        f"CoT alone: {name}": (
            cot.ALONE_GROUP,
            lambda *_, said=said: said,
            {"cot.alone": status},
            ["chat"],
        )
        for name, said, status in (
            ("no text", Reply(text="", reasoning=THOUGHT), "passed"),
            ("the model wrote it twice", Reply(text=THOUGHT, reasoning=THOUGHT), UNKNOWN),
            ("an answer", Reply(text="I do not know.", reasoning=THOUGHT), UNKNOWN),
            ("no CoT", Reply(text=THOUGHT, reasoning=""), UNKNOWN),
            ("a call", CALL, UNKNOWN),
            ("a copy", thinking_only(counted=True), "failed"),
            ("a copy without counts", thinking_only(counted=False), UNKNOWN),
        )
    },
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server(server: str) -> None:
    prove(*SERVERS[server])


def test_prompt_tokens_that_are_summed_over_turns_are_detected() -> None:
    results = judged(state.GROUP, streams_pass(continued(summed=True)), ["responses"])
    evidence = results["state.previous_response.usage"].examples[0].evidence
    expected, after, before = map(int, re.findall(r"\d+", f"{evidence.expected} {evidence.got}"))
    assert after == expected + before
