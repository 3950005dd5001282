"""Harmony tokens to events: a table of well-formed and broken turns, and any tokens."""

import openai_harmony as oh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony.parse import Delta, Ended, Event, HarmonyParser, Started
from harmony.vocabulary import encode, harmony_encoding

MARKERS = ("start", "end", "message", "channel", "constrain", "return", "call", "endoftext")


def events_of(tokens: list[int]) -> list[Event]:
    parser = HarmonyParser()
    return [event for token in tokens for event in parser.feed(token)] + parser.finish()


def messages_of(tokens: list[int]) -> list[tuple[str, str, str, bool]]:
    """All messages as (kind, name, text, complete), after checking the order of their events."""
    messages = []
    started: Started | None = None
    text = ""
    for event in events_of(tokens):
        match event:
            case Started():
                assert started is None
                started, text = event, ""
            case Delta(kind, piece):
                assert kind == started.kind
                assert piece
                text += piece
            case Ended(kind, complete):
                assert kind == started.kind
                messages.append((kind, started.name, text, complete))
                started = None
    assert started is None
    return messages


COT = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
HM = ("reasoning", "", "Hm.", True)
CALL_A = ("call", "a", "{}", True)

WELL_FORMED = [
    (COT + "<|channel|>final<|message|>Hi.<|return|>", [HM, ("answer", "", "Hi.", True)]),
    (COT + "<|channel|>commentary to=functions.a <|constrain|>json<|message|>{}<|call|>",
     [HM, CALL_A]),
    (COT + " to=functions.a<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
     [HM, CALL_A]),
    (COT + " to=functions.a<|channel|>commentary json<|message|>{}<|call|>", [HM, CALL_A]),
    (" to=functions.a<|channel|>commentary<|message|>{}<|call|>", [CALL_A]),
    ("<|channel|>analysis to=functions.a code<|message|>{}<|call|>", [CALL_A]),
    ("<|channel|>commentary to=functions.a-b_C<|constrain|>json<|message|>functions.x<|call|>",
     [("call", "a-b_C", "functions.x", True)]),
    ("<|channel|>commentary to=functions.functions.a<|message|>{}<|call|>",
     [("call", "functions.a", "{}", True)]),
    ("<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant to=functions.a"
     "<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
     [("preamble", "", "I will look.", True), CALL_A]),
    ("<|channel|>commentary to=browser.search code<|message|>{}<|call|>",
     [("call", "browser.search", "{}", True)]),
    ("<|channel|>final <|constrain|>json<|message|>{}<|return|>", [("answer", "", "{}", True)]),
]  # fmt: skip

BROKEN = [
    ("no tokens", "", []),
    ("an endless header", "word " * 300, [("answer", "", "word " * 300, False)]),
    ("cut in the header", COT + "<|channel|>fin", [HM]),
    ("cut in a call's recipient", COT + "<|channel|>commentary to", [HM]),
    ("cut in a call's header", COT + "<|channel|>commentary to=functions.a", [HM]),
    ("cut in the content", "<|channel|>analysis<|message|>Hm", [("reasoning", "", "Hm", False)]),
    ("no channel", "<|message|>Hi.<|end|>", [("answer", "", "Hi.", True)]),
    ("empty channel", "<|channel|><|message|>x<|end|>", [("reasoning", "", "x", True)]),
    ("unknown channel", "<|channel|>thoughts<|message|>x<|end|>", [("reasoning", "", "x", True)]),
    ("no markers at all", "Hello there.<|return|>", [("answer", "", "Hello there.", True)]),
    ("no message marker", "<|channel|>analysis We think<|end|><|start|>assistant<|channel|>final "
     "So.<|return|>", [("reasoning", "", "We think", True), ("answer", "", "So.", True)]),
    ("call without message marker",
     '<|channel|>commentary to=functions.a <|constrain|>json{"x": 1}<|call|>',
     [("call", "a", '{"x": 1}', True)]),
    ("lost markers",
     "<|channel|>analysis<|message|>Hm.<|end|>assistantfinal<|message|>Hi.<|return|>",
     [HM, ("answer", "", "Hi.", True)]),
    ("text between messages", "<|channel|>analysis<|message|>Hm.<|end|>junk" + COT[-18:] +
     "<|channel|>final<|message|>Hi.<|return|>", [HM, ("answer", "", "Hi.", True)]),
    ("channel inside content", "<|channel|>analysis<|message|>Hm.<|channel|>final<|message|>Hi."
     "<|return|>", [HM, ("answer", "", "Hi.", True)]),
    ("start inside content", "<|channel|>analysis<|message|>Hm.<|start|>assistant<|channel|>final"
     "<|message|>Hi.<|return|>", [HM, ("answer", "", "Hi.", True)]),
    ("doubled header", COT + "<|start|>assistant<|channel|>final<|message|>Hi.<|return|>",
     [HM, ("answer", "", "Hi.", True)]),
    ("message inside content", "<|channel|>final<|message|>a<|message|>b<|constrain|>c<|return|>",
     [("answer", "", "abc", True)]),
    ("runs on after the answer", "<|channel|>final<|message|>a<|end|><|start|>assistant<|channel|>"
     "final<|message|>b<|return|>", [("answer", "", "a", True)]),
    ("runs on after the call", "<|channel|>commentary to=functions.a<|message|>{}<|end|><|start|>"
     "functions.a to=assistant<|channel|>commentary<|message|>1<|end|>", [CALL_A]),
    ("speaks for the user", "<|channel|>analysis<|message|>Hm.<|end|><|start|>user<|message|>Hi."
     "<|end|>", [HM]),
    ("speaks for a tool", "<|channel|>analysis<|message|>Hm.<|end|><|start|>functions.a"
     " to=assistant<|channel|>commentary<|message|>1<|end|>", [HM]),
    ("after the stop token", "<|channel|>final<|message|>a<|return|>b<|start|>",
     [("answer", "", "a", True)]),
    ("end of text", "<|channel|>final<|message|>a<|endoftext|>", [("answer", "", "a", True)]),
    ("reasoning ends the turn", "<|channel|>analysis<|message|>Hm.<|return|>", [HM]),
    ("channel said twice", "<|channel|>commentary to=functions.a<|channel|>commentary<|message|>{}"
     "<|call|>", [CALL_A]),
    ("content type as a channel", "<|channel|>commentary to=functions.a <|channel|>json<|message|>"
     "{}<|call|>", [CALL_A]),
    ("recipient after the content type", "<|channel|>commentary <|constrain|>json to=functions.a"
     "<|message|>{}<|call|>", [CALL_A]),
    ("another channel at once", "<|channel|>analysis<|channel|>final<|message|>Hi.<|return|>",
     [("answer", "", "Hi.", True)]),
    ("to itself", " to=assistant<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
     " to=assistant<|channel|>final<|message|>Hi.<|return|>", [HM, ("answer", "", "Hi.", True)]),
    ("two recipients", " to=functions.a<|channel|>commentary to=functions.a <|constrain|>json"
     "<|message|>{}<|call|>", [CALL_A]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WELL_FORMED, ids=range(len(WELL_FORMED)))
def test_reads_every_form_of_header(text, expected):
    assert messages_of(encode(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in BROKEN], ids=[c[0] for c in BROKEN]
)
def test_broken_turns_have_a_defined_meaning(text, expected):
    assert messages_of(encode(text)) == expected


def test_characters_split_over_tokens_are_complete_in_the_text():
    text = "日本語 𠮷野家 🤷🏽‍♀️ naïve"
    tokens = encode(f"<|channel|>final<|message|>{text}<|return|>")
    pieces = [event.text for event in events_of(tokens) if isinstance(event, Delta)]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_an_incomplete_character_at_the_end_is_dropped():
    tokens = encode("<|channel|>final<|message|>ok 𠮷")
    assert messages_of(tokens[:-1]) == [("answer", "", "ok ", False)]


def test_invalid_bytes_do_not_hide_the_following_text():
    tokens = [*encode("<|channel|>final<|message|>a"), encode("𠮷")[0], *encode("b<|return|>")]
    assert messages_of(tokens) == [("answer", "", "a\ufffdb", True)]


SPECIAL = st.sampled_from([t for m in MARKERS for t in encode(f"<|{m}|>")])
ANY_TOKEN = st.integers(min_value=-3, max_value=201_200)
WORDS = st.sampled_from(
    [t for w in ("assistant", "analysis", "final", " to", "=functions", ".a", "json", "user", " é")
     for t in encode(w)]
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.one_of(SPECIAL, WORDS, ANY_TOKEN), max_size=60))
def test_any_tokens_give_ordered_events(tokens):
    messages_of(tokens)


@settings(max_examples=400)
@given(st.lists(st.one_of(SPECIAL, WORDS), max_size=60))
def test_markers_never_occur_in_the_text(tokens):
    for _, name, text, _ in messages_of(tokens):
        assert "<|" not in name + text


TEXT = st.text(max_size=30).filter(lambda text: "<|" not in text)
NAME = st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True)


@settings(max_examples=150)
@given(st.lists(TEXT, max_size=3), TEXT, TEXT, NAME, st.sampled_from(["none", "role", "channel"]))
def test_agrees_with_openai_harmony_on_well_formed_turns(thoughts, plan, last, name, recipient):
    text = "".join(f"<|channel|>analysis<|message|>{t}<|end|><|start|>assistant" for t in thoughts)
    text += f"<|channel|>commentary<|message|>{plan}<|end|><|start|>assistant"
    text += {
        "none": f"<|channel|>final<|message|>{last}<|return|>",
        "role": f" to=functions.{name}<|channel|>commentary <|constrain|>json<|message|>{last}"
        "<|call|>",
        "channel": f"<|channel|>commentary to=functions.{name} json<|message|>{last}<|call|>",
    }[recipient]
    tokens = encode(text)
    theirs = oh.StreamableParser(harmony_encoding(), oh.Role.ASSISTANT)
    for token in tokens:
        theirs.process(token)
    channel_of = {"reasoning": "analysis", "preamble": "commentary", "answer": "final"}
    assert [
        (channel_of.get(kind, "commentary"), f"functions.{name}" if kind == "call" else None, text)
        for kind, name, text, _ in messages_of(tokens)
    ] == [(m.channel, m.recipient, m.content[0].text) for m in theirs.messages]
