"""Texts that the model repeats: unchanged on their way to the model and back to the client.

The user's message ends with a text that the answer should repeat, at temperature 0 because a
sampled word is sometimes wrong. Even then, a model may copy a text incorrectly. A changed answer
therefore counts only if the reported tokens are those of the unchanged text, and not those of the
answer, if it has the words of the text in another order, or if replies that the model must have
written alike have the text unchanged (`echo.returned`). Other changes that
keep the number of tokens, on the way to the model or back, show if the model seems to make them
every time, or if a word or two of several texts are wrong that it otherwise repeats correctly
(`echo.received`). The
model itself made a change if the prompt has the tokens of the original text, and the reply those of
the changed one.
"""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import TypeAdapter

from harmony.render import text_tokens
from harness.api.items import Message, Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.api.stream_events import texts_of
from harness.records.conditions import MODES
from harness.rules.evidence.ledger import extra_tokens
from harness.rules.evidence.tables import table
from harness.rules.evidence.twins import FEWEST_UNLIKE, has_twin, is_variant
from harness.rules.missing import required
from harness.rules.probe import ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.rules.rule import CHAT, Problem
from harness.text import shared_beginning

_ASK = "Please repeat after me: "
TEXTS: Mapping[str, str] = {
    "markup": "use <b>five</b> knots & 3.5 < 4",
    "markdown": "**low** tide at *six* and `seven`",
    "blank lines": "salt\n\n\npepper",
    "indentation": "if tide:\n    sail()",
    "typography": "it’s “low” – wait …",
    "emoji": "潮 🌊 žluté",
    "spaces": "dock    nine",
    "capitals": "ALMA and The QUAY",
    "number": "004940123456789",
    "address": "mate@quay.example",
    "quotes": 'the "Alma" left port',
    "line separators": "salt\u2028pepper\u2029dock\x85nine",
    "words": "the secret password is to kill the code",
}
LONG_TEXTS = TypeAdapter(dict[str, str]).validate_python(table("text")["long"])
"""Texts with many pieces, some of which a server may lose."""
ALL_TEXTS = {**TEXTS, **LONG_TEXTS}
CHANGES: Mapping[str, Callable[[str], str]] = {
    "letters are in lower case": str.lower,
    "quotes are replaced": lambda text: text.replace('"', "'"),
    "white space is reduced to single spaces": lambda text: " ".join(text.split()),
    "blank lines are missing": lambda text: re.sub(r"\n\s*\n", "\n", text),
    "line breaks are spaces": lambda text: text.replace("\n", " "),
    "indentation is missing": lambda text: re.sub(r"\n +", "\n", text),
    "decimal points are commas": lambda text: re.sub(r"(?<=\d)\.(?=\d)", ",", text),
    "characters are escaped as in HTML": lambda text: html.escape(text, quote=False),
    "tags are missing": lambda text: re.sub(r"<[^<>]*>", "", text),
    "compatibility characters are replaced (NFKC)": lambda text: unicodedata.normalize(
        "NFKC", text
    ),
}
"""What servers do to texts, and models rarely when they copy a few words."""
_MASK = r"(?:[*#█•_x]{3,}|\[[A-Z_ ]+\])"
_WORDS = re.compile(r"(\w+)")
_MOST_WORDS, _FEWEST_TEXTS = 2, 3
_FEWEST_WORDS = 5  # words that a model does not repeat in another order
_FEWEST_AGREEING = 3  # texts whose prompt tokens show that a server counts the user's texts
_TRIES = 2

_REQUESTS = tuple(
    ProbeRequest(name, (Message("user", f"{_ASK}{text}"),), temperature=0.0, tries=_TRIES)
    for name, text in ALL_TEXTS.items()
)
GROUP = ProbeGroup(
    "echo", lambda _api: _REQUESTS, CHAT, modes=MODES, family="text", component="text"
)


@GROUP.probe("echo.returned", ALL_TEXTS, unjudged="not_echoed", witness=True)
def _returned(responses: ProbeResponses) -> Trials:
    """The text of an answer reaches the client as the model wrote it.

    Any change alters code, quotations and data.
    """
    found = list(_replies(responses, ALL_TEXTS))
    right = [(name, reply) for name, _, reply in found if ALL_TEXTS[name] in reply.text]
    extra = Counter(extra_tokens(reply) for _, reply in right)
    usual = {tokens for tokens, times in extra.items() if 2 * times > extra.total()}
    intact = {name: [reply for other, reply in right if other == name] for name, _ in right}
    unlike = {
        name
        for name, _, reply in found
        if is_variant(ALL_TEXTS[name], reply.text) and has_twin(reply, intact.get(name, ()))
    }
    for name, exchange, reply in found:
        text = ALL_TEXTS[name]
        written = replace(reply, text=text)
        if text in reply.text:
            yield None
        elif extra_tokens(reply) not in (None, *extra) and extra_tokens(written) in usual - {None}:
            what = _difference(text, reply.text)
            message = (
                "The reported tokens are those of the requested text, not those of the answer"
                f"{what and f': {what}'}."
            )
            yield Problem(exchange, message, repr(text), repr(reply.text))
        elif name in intact and (
            _has_exchanged_pieces(exchange, reply, text) or _is_permuted(text, reply.text)
        ):
            twice = _has_doubled_piece(exchange, reply, text)
            what = "A piece of the text is there twice" if twice else "Pieces are in another order"
            message = f"{what}; other replies are correct."
            yield Problem(exchange, message, repr(text), repr(reply.text))
        elif name in unlike and len(unlike) >= FEWEST_UNLIKE:
            what = _difference(text, reply.text) or "case, marks or letters are changed"
            message = f"Other replies with the same CoT and as many tokens have the text: {what}."
            yield Problem(exchange, message, repr(text), repr(reply.text))


def _difference(text: str, answer: str) -> str:
    """Return what an answer has done to a text, in a few words; "" if it is not simple."""
    if text.split() == answer.split() or "".join(text.split()) == "".join(answer.split()):
        return "white space is missing or changed"
    if text.endswith(answer):
        return "the beginning is missing"
    if text.startswith(answer):
        return "the end is missing"
    short, long = sorted((text, answer), key=len)
    if long.endswith(short[shared_beginning(short, long) :]):
        return "a part is missing" if short == answer else "a part is added or there twice"
    return ""


def _is_permuted(text: str, answer: str) -> bool:
    """Whether an answer has the words of a text in another order, which keeps their tokens."""
    wanted, got = _WORDS.findall(text), _WORDS.findall(answer)
    return wanted != got and len(wanted) >= _FEWEST_WORDS and sorted(wanted) == sorted(got)


def _has_exchanged_pieces(exchange: ParsedExchange, reply: Reply, text: str) -> bool:
    """Whether an answer has this text if two adjacent pieces of its stream change places."""
    pieces = _pieces(exchange, reply)
    return any(
        text in "".join((*pieces[:at], pieces[at + 1], pieces[at], *pieces[at + 2 :]))
        for at in range(len(pieces) - 1)
    )


def _has_doubled_piece(exchange: ParsedExchange, reply: Reply, text: str) -> bool:
    """Whether an answer has this text without the second of two equal pieces of its stream."""
    pieces = _pieces(exchange, reply)
    return any(
        pieces[at] == pieces[at - 1] and text in "".join((*pieces[:at], *pieces[at + 1 :]))
        for at in range(1, len(pieces))
    )


def _pieces(exchange: ParsedExchange, reply: Reply) -> list[str]:
    """Return the pieces of a streamed answer, without those of its CoT."""
    pieces = [piece for event in exchange.events for piece in texts_of(event)]
    while pieces and "".join(pieces) != reply.text:
        del pieces[0]
    return pieces


@GROUP.probe("echo.received", TEXTS, severity="warning", component="messages", witness=True)
def _received(responses: ProbeResponses) -> Trials:
    """The model repeats a text as the user wrote it.

    If the text always comes back with the same typical change, the server made that change, on the
    way to the model or back. If some replies to several texts have one or two other words, and all
    other replies are correct, the server probably changes words occasionally.
    """
    found: dict[str, list[tuple[ParsedExchange, Reply]]] = {}
    for name, exchange, reply in _replies(responses):
        found.setdefault(name, []).append((exchange, reply))
    intact = [name for name in found if any(TEXTS[name] in r.text for _, r in found[name])]
    able = len(intact) * 2 >= len(TEXTS)
    for name, replies in required(found.items() if able else (), "echoes_unreliably"):
        if name in intact:
            yield None
        for change, changed in _changed(TEXTS[name], replies[0][1].text):
            same = all(changed in reply.text for _, reply in replies)
            if _wrote_so(name, changed, found):
                continue
            if name not in intact and same and len(replies) >= _TRIES:
                exchange, reply = replies[0]
                message = f"The model's copies of the text all have the same change: {change}."
                yield Problem(exchange, message, repr(TEXTS[name]), repr(reply.text))
                break
    yield from _other_words(found if able else {})


def _wrote_so(
    name: str, changed: str, found: Mapping[str, Sequence[tuple[ParsedExchange, Reply]]]
) -> bool:
    """Whether the tokens show that the model got the original text and wrote the changed one."""
    others = {
        text: (replies[0][1].input_tokens or 0) - len(text_tokens(_ASK + TEXTS[text]))
        for text, replies in found.items()
    }
    extra = {
        extra_tokens(reply)
        for text, replies in found.items()
        for _, reply in replies
        if TEXTS[text] in reply.text
    }
    usual, agreeing = Counter(others.values()).most_common(1)[0]
    received = agreeing >= _FEWEST_AGREEING and others[name] == usual
    lengths = {len(text_tokens(_ASK + text)) for text in (TEXTS[name], changed)}
    wrote = {extra_tokens(reply) for _, reply in found[name]} <= extra - {None}
    return received and wrote and len(lengths) > 1


def _other_words(found: Mapping[str, Sequence[tuple[ParsedExchange, Reply]]]) -> Trials:
    """Yield the replies with one or two other words, if several texts have such replies.

    A text counts only if all other replies, and at least as many, repeat it exactly.
    """
    changed = []
    for name, replies in found.items():
        exact = sum(TEXTS[name] in reply.text for _, reply in replies)
        others = [answer for answer in replies if _has_other_word(TEXTS[name], answer[1].text)]
        if exact >= len(others) > 0 and exact + len(others) == len(replies):
            changed.append((name, *others[0]))
    for name, exchange, reply in changed if len(changed) >= _FEWEST_TEXTS else ():
        message = f"One or two words of the copy are wrong, as in replies to {len(changed)} texts."
        yield Problem(exchange, message, repr(TEXTS[name]), repr(reply.text))


def _has_other_word(text: str, answer: str) -> bool:
    """Whether one or two words of the answer differ from the text, and nothing else."""
    wanted, got = _WORDS.split(text.strip()), _WORDS.split(answer.strip())
    pairs = [pair for pair in zip(wanted, got, strict=False) if pair[0] != pair[1]]
    few = len(wanted) == len(got) and 0 < len(pairs) <= _MOST_WORDS
    return few and all(word.isalnum() for pair in pairs for word in pair)


def _changed(text: str, answer: str) -> Iterator[tuple[str, str]]:
    """Yield the typical changes of a text, each with the changed text."""
    if (masked := _masked(text, answer)) is not None:
        yield "words are masked", masked
    made = ((name, change(text)) for name, change in CHANGES.items())
    yield from ((name, changed) for name, changed in made if changed != text)


def _masked(text: str, answer: str) -> str | None:
    """Return the text with the words masked that the answer masks, with asterisks or the like."""
    words = [rf"(?:{re.escape(word)}|{_MASK})" for word in text.split(" ")]
    found = re.search(" ".join(words), answer)
    return found[0] if found and found[0] != text else None


def _replies(
    responses: ProbeResponses, texts: Iterable[str] = TEXTS
) -> Iterator[tuple[str, ParsedExchange, Reply]]:
    return (
        (name, exchange, reply)
        for name, rollout in responses.named(*texts)
        for exchange, reply in rollout.replies
        if reply.text
    )
