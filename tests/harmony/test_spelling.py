"""The spellings of a reply: the canonical one, and those that differ from one token on."""

import pytest

from harmony.conversation import Answer, Call, Reasoning
from harmony.parse import END, parse_completion
from harmony.render import message_tokens
from harmony.spelling import Spelling, WrittenMessage, WrittenReply, alternatives, canonical
from harmony.vocabulary import bytes_of, encode

_COT = WrittenMessage("reasoning", "I look.\n\nThen I call.")
_CALL = WrittenMessage("call", '{"place": "Ribe"}', "get_tide")
_REPLY = WrittenReply((_COT, _CALL))


def _words(spelling: Spelling) -> list[str]:
    return [bytes_of(token).decode("utf-8", "replace") for token in spelling.ids]


def _others(spelling: Spelling, place: int) -> dict[str, Spelling]:
    """Return the alternatives by their token in a place."""
    return {_words(other)[place]: other for other in alternatives(spelling, place)}


def test_the_canonical_spelling_has_the_tokens_of_the_renderer() -> None:
    spelled = canonical(WrittenReply((_COT, WrittenMessage("answer", "Low."))))
    rendered = [*message_tokens(Reasoning(_COT.text)), *message_tokens(Answer("Low."))]
    assert list(spelled.ids[:-1]) == rendered[len(encode("<|start|>assistant")) : -1]
    assert _words(spelled)[-1] == "<|return|>"


def test_a_complete_reply_does_not_end_where_a_model_goes_on() -> None:
    ended = canonical(WrittenReply((_COT,)))
    cut = canonical(WrittenReply((_COT,), complete=False))
    assert (_words(ended)[-1], _words(cut)[-1]) == ("<|return|>", ".")


def test_every_spelling_is_read_as_the_same_reply() -> None:
    """Except where a CoT is split in two, which an API joins again."""
    first = canonical(_REPLY)
    for place in range(len(first.ids)):
        for other in alternatives(first, place):
            read = parse_completion(other.ids).items
            assert read[-1] == Call(_CALL.name, _CALL.text), _words(other)
            assert "".join(item.text for item in read[:-1]).replace("\n", "") == _COT.text.replace(
                "\n", ""
            )


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        (".\n\n", {".", ".\n", "<|end|>"}),
        (".get", {"."}),
        ("commentary", {"analysis"}),
        ("<|call|>", {"<|end|>", "<|return|>"}),
        ("<|constrain|>", {"json"}),
    ],
)
def test_alternatives_are_other_texts_headers_and_ends(token, wanted) -> None:
    first = canonical(_REPLY)
    words = _words(first)
    place = words.index("comment" if token == "commentary" else token)
    assert wanted <= _others(first, place).keys()


def test_a_part_of_a_name_can_be_spelled_otherwise() -> None:
    first = canonical(_REPLY)
    others = alternatives(first, _words(first).index(".get"))
    assert "".join(_words(first)) in ["".join(_words(other)) for other in others]


def test_a_message_is_split_where_an_api_joined_two() -> None:
    first = canonical(_REPLY)
    dot = _others(first, _words(first).index(".\n\n"))["."]
    place = _words(dot).index("\n\n")
    ends = [other for other in alternatives(dot, place) if other.ids[place] == END]
    read = [parse_completion(other.ids).items[:2] for other in ends]
    assert (Reasoning("I look."), Reasoning("Then I call.")) in read


def test_a_header_may_lack_its_end_and_run_into_the_text() -> None:
    first = canonical(WrittenReply((WrittenMessage("reasoning", "to 3."),)))
    assert " to" in _others(first, _words(first).index("<|message|>"))


def test_a_cut_reply_has_no_end_and_given_parts_are_not_judged() -> None:
    message = WrittenMessage("call", "{}", "f", given=True, bound=True)
    spelled = canonical(WrittenReply((_COT, message), complete=False))
    assert _words(spelled)[-1] == "{}"
    assert {place.judged for place in spelled.places if place.message} == {False}


def test_tokens_that_the_reply_has_are_left_as_they_are() -> None:
    ids = (*encode("<|channel|>final<|message|>"), *map(ord, "  "), *encode("<|return|>"))
    spelled = canonical(WrittenReply((WrittenMessage("answer", "AA"),), exact=ids))
    assert spelled.ids == ids
    assert [place.part for place in spelled.places] == ["header"] * 3 + ["text"] * 2 + ["end"]
    assert list(alternatives(spelled, 3)) == []


def test_an_answer_with_known_tokens_keeps_them_in_every_header() -> None:
    spelled = tuple(encode("A") + encode("A"))
    first = canonical(WrittenReply((WrittenMessage("answer", "AA", spelled=spelled),)))
    for other in alternatives(first, 1):
        assert other.ids[-3:-1] == spelled
