"""The fixtures of harmony parsers, and wrong parsers that fail in some chunks only."""

import importlib
import json
import re
from pathlib import Path

import pytest

from harmony.conformance import FIXTURES, Chunks, Fixture, Message, failures, require
from harmony.conversation import Answer, Call, Reasoning
from harmony.parse import Delta, Ended, HarmonyParser, Started, item_of, parse_completion
from harmony.render import CONTENT_TYPES, message_tokens
from harmony.vocabulary import encode

ROOT = Path(__file__).parents[2]
NAMED = {str(fixture): fixture for fixture in FIXTURES}
START = encode("<|start|>assistant")
RETURN = encode("<|return|>")


def ours(chunks: Chunks) -> list[Message]:
    return list(parse_completion(token for chunk in chunks for token in chunk).items)


@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_our_parser_conforms(fixture):
    assert not failures(ours, fixture)


@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_the_tokens_are_those_of_the_text_and_of_our_renderer(fixture):
    tokens = list(fixture.tokens)
    if fixture.source == "rendered":
        (messages,) = fixture.results
        rendered = [
            message_tokens(item, CONTENT_TYPES[-1] if isinstance(item, Call) else "")
            for item in messages
        ]
        if isinstance(messages[-1], Answer):
            rendered[-1][-1:] = RETURN
        assert START + tokens == [token for message in rendered for token in message]
    elif fixture.name == "cut in a character":
        assert tokens == encode(fixture.text.replace("\ufffd", "𠮷"))[:-1]
    else:
        assert tokens == encode(fixture.text)


def test_there_are_fixtures_of_each_kind_with_their_sources():
    sources = [fixture.source for fixture in FIXTURES]
    reported = [source for source in sources if source.startswith("https://github.com/")]
    assert set(sources) - set(reported) == {"rendered", "format", "truncated"}
    assert len(NAMED) == len(FIXTURES) == 45
    assert len(reported) == 14


def last_event_of_a_chunk(chunks: Chunks) -> list[Message]:
    """The text of a chunk is that of its last token: vLLM issue 28635 (PR 30437)."""
    parser = HarmonyParser()
    items: list[Message] = []
    started, text = None, ""
    for chunk in chunks:
        events = [event for token in chunk for event in parser.feed(token)]
        deltas = [event for event in events if isinstance(event, Delta)]
        for event in events:
            match event:
                case Started():
                    started, text = event, ""
                case Delta() if event is deltas[-1]:
                    text += event.text
                case Ended():
                    items.append(item_of(started, text))
    return items


def test_a_parser_that_keeps_the_last_token_of_a_chunk_fails_by_its_chunks():
    fixture = NAMED["call only"]
    found = failures(last_event_of_a_chunk, fixture)
    assert found
    single = (1,) * len(fixture.tokens)
    assert all(failure.sizes != single for failure in found)
    shown = [repr(failure) for failure in found]
    assert any("of 196 chunkings" in text for text in shown)


def test_every_chunk_is_fed_between_single_tokens_and_few_tokens_in_every_way():
    fed: list[tuple[int, ...]] = []

    def record(chunks: Chunks) -> list[Message]:
        fed.append(tuple(len(chunk) for chunk in chunks))
        return ours(chunks)

    fixture = NAMED["call only"]
    failures(record, fixture)
    tokens = len(fixture.tokens)
    for start in range(tokens):
        for end in range(start + 1, tokens + 1):
            assert (1,) * start + (end - start,) + (1,) * (tokens - end) in fed
    assert len(fed) == len(set(fed))
    fed.clear()
    failures(record, Fixture("short", "rendered", "", fixture.tokens[:8], ((),)))
    assert len(set(fed)) == len(fed) == 2**7
    assert {sum(sizes) for sizes in fed} == {8}


def test_an_error_of_the_parser_is_a_failure_that_names_it():
    def raises(chunks: Chunks) -> list[Message]:
        if len(chunks) == 1:
            raise ValueError("Unexpected token 12606")
        return ours(chunks)

    (failure,) = failures(raises, NAMED["answer"])
    assert failure.count == 1
    assert "Unexpected token 12606" in repr(failure)


def test_an_acceptable_result_must_not_depend_on_the_chunks():
    """Without streaming, this parser drops the call that the token limit cut."""

    def drops(chunks: Chunks) -> list[Message]:
        items = ours(chunks)
        return items[:-1] if len(chunks) == 1 else items

    (failure,) = failures(drops, NAMED["cut in the arguments"])
    assert failure.varies
    assert "the same result as from single tokens" in repr(failure)


def test_texts_may_be_joined_and_arguments_written_again():
    def joins(chunks: Chunks) -> list[Message]:
        items = ours(chunks)
        thoughts = [item.text for item in items if isinstance(item, Reasoning)]
        others = [item for item in items if not isinstance(item, Reasoning)]
        calls = [
            Call(f"functions.{item.name}", json.dumps(json.loads(item.arguments)))
            if isinstance(item, Call) else item for item in others
        ]  # fmt: skip
        return [Reasoning("\n".join(thoughts)), *calls]

    assert not failures(joins, NAMED["two pieces of reasoning, answer"])
    assert not failures(joins, NAMED["characters of several tokens in a call"])


CONFIG = ROOT / "reference_engine" / "small" / "tokenizer_config.json"
RESPONSE_TEMPLATE = json.loads(CONFIG.read_text(encoding="utf-8"))["response_template"]
WRITTEN_MARKERS = "special tokens as text"
"""A parser of text takes them for the end of the message."""


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["whole", "streamed"])
@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_transformers_parses_harmony_with_the_template_of_the_small_checkpoint(fixture, parser):
    pytest.importorskip("transformers.utils.chat_parsing")
    parse = getattr(importlib.import_module("transformers_parsers"), parser)(RESPONSE_TEMPLATE)
    assert bool(failures(parse, fixture)) == (str(fixture) == WRITTEN_MARKERS)


def test_the_example_of_the_documentation_is_complete():
    page = (ROOT / "docs" / "other-engines.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        compile(block, "other-engines.md", "exec")
    assert page.count("require(parse, fixture)") == 1


def test_an_assertion_has_every_wrong_result_whole():
    with pytest.raises(AssertionError) as raised:
        require(lambda _chunks: [], FIXTURES[0])
    assert str(raised.value) == repr(failures(lambda _chunks: [], FIXTURES[0])[0])
