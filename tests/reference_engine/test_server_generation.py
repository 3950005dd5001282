"""Replies are well-formed for any sampled tokens."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from scripted import ScriptedEngine

from harmony.conversation import Conversation, User
from harmony.parse import STOP_TOKENS, Delta, Ended, Event, Started
from harmony.vocabulary import harmony_encoding
from reference_engine.builtin.tools import Toolbox
from reference_engine.generation.sampling import SamplingParams
from reference_engine.server.chat_completions import ChatReply
from reference_engine.server.chat_request import ChatRequest
from reference_engine.server.generation import Generation, GenerationRequest
from reference_engine.server.responses.handler import ResponsesReply
from reference_engine.server.responses.output_items import OutputWriter
from reference_engine.server.responses.request import ResponsesRequest
from reference_engine.server.responses.steps import Steps
from reference_engine.server.tool_choice import ToolPolicy
from reference_engine.server.visible_text import StopStrings

POLICIES = [
    ToolPolicy(),
    ToolPolicy("forbidden"),
    ToolPolicy("required", ("f",)),
    ToolPolicy("required", ("f", "get_weather")),
]
SNIPPETS = [
    "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>",
    "assistant", "analysis", "commentary", "final", " to=functions.f", ".f", "json", "user", "𠮷",
    "<|channel|>analysis<|message|>", "<|end|><|start|>assistant", "<|channel|>final<|message|>",
    "<|channel|>commentary to=functions.g<|message|>", "stop", "st",
]  # fmt: skip
SAMPLED = st.lists(
    st.one_of(st.sampled_from(SNIPPETS), st.integers(min_value=0, max_value=201_087)), max_size=25
)


def tokens_of(sampled: list[str | int]) -> list[int]:
    encoding = harmony_encoding()
    return [
        token
        for piece in sampled
        for token in (
            encoding.encode(piece, allowed_special="all") if isinstance(piece, str) else [piece]
        )
    ]


def run(order: GenerationRequest, tokens: list[int]) -> tuple[Generation, list[Event]]:
    generation = Generation(ScriptedEngine(tokens), order)
    collected: list[Event] = []

    async def take(parts: Sequence[Event]) -> None:
        collected.extend(parts)

    asyncio.run(generation.run(take))
    return generation, collected


def check_order(parts: list[Event]) -> None:
    writing: Started | None = None
    for part in parts:
        if isinstance(part, Started):
            assert writing is None
            writing = part
        else:
            assert writing is not None
            assert part.kind == writing.kind
            assert not isinstance(part, Delta) or part.text
            writing = None if isinstance(part, Ended) else writing
    assert writing is None


def test_cot_with_a_malformed_header_is_counted():
    sampled = [
        "<|channel|>",
        "analysis",
        " I think so.",
        "<|end|>",
        "<|start|>assistant<|channel|>final<|message|>Hi",
    ]
    order = GenerationRequest(
        Conversation((User("Hi"),)), SamplingParams(stop_token_ids=STOP_TOKENS), ToolPolicy()
    )
    generation, parts = run(order, tokens_of(sampled))
    (text,) = [part.text for part in parts if isinstance(part, Delta) and part.kind == "reasoning"]
    assert generation.reasoning_tokens == len(harmony_encoding().encode(text))


@settings(max_examples=200)
@given(
    SAMPLED, st.sampled_from(POLICIES), st.integers(min_value=1, max_value=60), st.booleans()
)  # fmt: skip
def test_any_tokens_make_a_valid_reply(sampled, policy, limit, logprobs):
    conversation = Conversation((User("Hi"),))
    sampling = SamplingParams(
        limit, stop_token_ids=STOP_TOKENS, top_logprobs=1 if logprobs else None
    )
    order = GenerationRequest(conversation, sampling, policy, stop=("stop",))
    generation, parts = run(order, tokens_of(sampled))
    check_order(parts)
    assert len(generation.completion) <= limit
    assert generation.reasoning_tokens <= len(generation.completion)
    calls = [part.name for part in parts if isinstance(part, Started) and part.kind == "call"]
    assert policy.mode != "forbidden" or not calls
    assert policy.mode != "required" or (set(calls) <= set(policy.names))
    assert policy.mode != "required" or calls or generation.finish == "length"
    assert len(calls) <= 1

    engine = ScriptedEngine(tokens_of(sampled))
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "logprobs": logprobs}
    reply = ChatReply(ChatRequest.model_validate(body), "f", [Generation(engine, order)])
    completion = ChatCompletion.model_validate(asyncio.run(reply.complete()))
    content = completion.choices[0].message.content
    assert "stop" not in (content or "") or any(part.kind == "preamble" for part in parts)

    request = ResponsesRequest.model_validate({"model": "m", "input": "Hi"})
    writer = OutputWriter(request, Toolbox())
    writer.written(parts)
    steps = Steps(lambda _: generation, order, Toolbox(), most_calls=0)
    steps.finish = generation.finish
    Response.model_validate(ResponsesReply(request, steps, writer).finished())


@settings(max_examples=300)
@given(
    st.lists(st.text("abc", max_size=4), max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
)
def test_stop_strings_in_pieces_equal_those_in_the_whole_text(pieces, strings):
    stops, shown = StopStrings(strings), ""
    for piece in pieces:
        shown += stops.feed(piece)
        if stops.hit:
            break
    else:
        shown += stops.flush()
    text = "".join(pieces)
    found = [at for string in strings if (at := text.find(string)) >= 0]
    assert stops.hit == bool(found)
    if not found:
        assert shown == text
    else:
        assert not any(string in shown for string in strings)
        assert text.startswith(shown)
