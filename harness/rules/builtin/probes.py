"""Built-in tools, which the provider runs itself: Python and the web search of the Responses API.

gpt-oss was trained to call them in its chain of thought. A provider may lack them, and the model
may answer without them; neither is a defect. A SHA-256 in an answer proves that a program ran,
because a model cannot compute it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.api.fields import objects
from harness.api.items import Message, Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.api.responses import CODE_INTERPRETER, CODE_INTERPRETER_CALL
from harness.records.conditions import MODES
from harness.rules.habits import unmeasured
from harness.rules.missing import NotVerifiableError, required, unlike
from harness.rules.probe import (
    MAY_BE_REFUSED,
    Answer,
    ProbeGroup,
    ProbeRequest,
    Sent,
    Trials,
    prompt_tokens,
)
from harness.rules.rule import Problem

_PYTHON_GUIDE = "https://platform.openai.com/docs/guides/tools-code-interpreter"
_SEARCH_GUIDE = "https://platform.openai.com/docs/guides/tools-web-search"
_GPT_OSS = "https://github.com/openai/gpt-oss#tools"
_REFERENCE = "https://platform.openai.com/docs/api-reference/responses/create"
_MISCOPIED = unmeasured(0.3)
_FEATURE = "built-in tools"


_HASHED = "gpt-oss-verify 4182"
_FACTORS = (482_719, 917_353)
_MARKER = re.compile(r"【(\d+)†L\d+(?:-L\d+)?】")
_SEPARATOR = re.compile(r"(?<=\d)(?:\{,\}|[,\s.'])(?=\d{3})")


@dataclass(frozen=True)
class _Computed:
    """A value that a program computes: what its code contains, and the form of such values."""

    value: str
    code: tuple[str, ...]
    form: re.Pattern[str]


_VALUES: Mapping[str, _Computed] = {
    "hash": _Computed(
        hashlib.sha256(_HASHED.encode()).hexdigest()[:12],
        ("sha256", _HASHED),
        re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b"),
    ),
    "product": _Computed(
        str(_FACTORS[0] * _FACTORS[1]),
        tuple(map(str, _FACTORS)),
        re.compile(r"\b\d{10,14}\b"),
    ),
}
_MOST_CALLS = 1


GROUP = ProbeGroup(
    "builtin",
    _PYTHON_GUIDE,
    suite="full",
    apis=("responses",),
    modes=MODES,
    needs="built_in_tools",
    component="builtin",
)
_PYTHON = {"tools": [CODE_INTERPRETER], "include": ["code_interpreter_call.outputs"]}
_SEARCH = {"tools": [{"type": "web_search"}], "include": ["web_search_call.action.sources"]}
_PROGRAM = f"hashlib.sha256({_HASHED.encode()!r}).hexdigest()[:12]"
_HASHING = Message("user", f"Use Python to compute {_PROGRAM} and answer with the value.")
_request = partial(ProbeRequest, tries=2, provokes=MAY_BE_REFUSED)
_PLAIN = GROUP.send(ProbeRequest("plain", (_HASHING,)))
_HASH = GROUP.send(_request("hash", (_HASHING,), options=_PYTHON))


@GROUP.probe("builtin.offered", _PLAIN, _HASH, severity="warning", source=_GPT_OSS)
def _offered(plain: Sent, hashed: Sent) -> Trials:
    """A built-in tool reaches the prompt.

    gpt-oss calls a built-in tool if the system message declares it, which costs prompt tokens.
    """
    _, without_tool = plain.first
    for exchange, reply in hashed.served_replies(_FEATURE):
        if _calls(reply):
            yield None
            continue
        with_tool, without = prompt_tokens(reply), prompt_tokens(without_tool)
        message = "The prompt with code_interpreter has no more tokens than the one without."
        got = f"{with_tool} and {without}"
        lost = Problem(exchange, message, "more tokens", got, "$.usage.input_tokens")
        yield None if with_tool > without else lost


@GROUP.probe("builtin.shown", _HASH)
def _shown(hashed: Sent) -> Trials:
    """A program that the provider runs is shown as an item of the response.

    Users must be able to see what was executed for them, and clients send the items back.
    """
    served, value = hashed.served_replies(_FEATURE), _VALUES[hashed.name].value
    proven = (answer for answer in served if value in answer[1].text)
    for exchange, reply in required(proven, "no_program"):
        kinds = [str(item.get("type")) for item in _items(reply)]
        message = "The answer has a SHA-256, but no item shows the program that computed it."
        hidden = Problem(exchange, message, CODE_INTERPRETER_CALL, ", ".join(kinds), "$.output")
        yield None if _calls(reply) else hidden


_PRODUCT = GROUP.send(
    _request(
        "product",
        (
            Message(
                "user",
                f"Use Python to compute {_FACTORS[0]} * {_FACTORS[1]} and answer with it.",
            ),
        ),
        options=_PYTHON,
    )
)


@GROUP.probe("builtin.results", (_HASH, _PRODUCT), habit=_MISCOPIED)
def _results(computed: Sent) -> Trials:
    """The answer has the value that a program printed.

    A model that answers with a different value does not see the result, or does not recognize it as
    the result of its call.
    """
    answered = [
        (exchange, _SEPARATOR.sub("", reply.text), value)
        for each in computed
        for value in (_VALUES[each.name],)
        for exchange, reply in each.served_replies(_FEATURE)
        if any(_computes(call, value) for call in _calls(reply))
    ]
    if not any(value.form.search(text) for _, text, value in answered):
        raise NotVerifiableError("no_computed_value")
    for exchange, text, value in answered:
        message = "The answer does not have the value that the program computed."
        if value.value in text:
            yield None
        elif value.form.search(text):
            yield Problem(exchange, message, value.value, text)
        else:
            yield unlike(text)


_LIMITED = GROUP.send(
    _request(
        "limited",
        (
            Message(
                "user",
                "Run Python in three separate calls: first print(17 ** 9), then print(19 ** 9), "
                "then print(23 ** 9). Answer with the three values.",
            ),
        ),
        options={**_PYTHON, "max_tool_calls": _MOST_CALLS},
        tries=1,
        whole=False,
    )
)


@GROUP.probe("builtin.limit", _LIMITED, severity="warning", source=_REFERENCE)
def _limit(limited: Sent) -> Trials:
    """A response has at most `max_tool_calls` calls of built-in tools.

    Every call costs time and tokens. Without a limit, a model that repeats itself does not stop.
    """
    for exchange, reply in _with_calls(limited):
        count = len(_calls(reply))
        message = "The response has more calls of built-in tools than the request allows."
        wrong = Problem(exchange, message, f"at most {_MOST_CALLS}", str(count), "$.output")
        yield wrong if count > _MOST_CALLS else None


_SEARCHED = GROUP.send(
    _request(
        "search",
        (
            Message(
                "user",
                "Search the web for the population of Iceland. Answer in one sentence and cite.",
            ),
        ),
        options=_SEARCH,
    )
)


@GROUP.probe("builtin.citations", _SEARCHED, severity="warning", source=_SEARCH_GUIDE)
def _citations(searched: Sent) -> Trials:
    """Citations of displayed pages are annotations with offsets in the text.

    Clients show citations as links. The model writes them as 【cursor†lines】, which users cannot
    follow.
    """
    cited = [
        (exchange, text, notes, reply)
        for exchange, reply in _with_calls(searched)
        for text, notes in _texts(reply)
        if notes or _MARKER.search(text)
    ]
    for exchange, text, notes, reply in required(cited, "no_citation"):
        yield _misplaced(exchange, text, notes) if notes else _unmapped(exchange, text, reply)


_KINDS = frozenset({CODE_INTERPRETER_CALL, "web_search_call"})


def _items(reply: Reply) -> Sequence[Mapping[str, Any]]:
    return list(objects(reply.raw.get("output")))


def _calls(reply: Reply) -> list[Mapping[str, Any]]:
    return [item for item in _items(reply) if item.get("type") in _KINDS]


def _with_calls(sent: Sent) -> Sequence[Answer]:
    """Return the replies with a built-in call. Raises NotVerifiableError."""
    answers = sent.served_replies(_FEATURE)
    return required((answer for answer in answers if _calls(answer[1])), "no_built_in_call")


def _computes(call: Mapping[str, Any], value: _Computed) -> bool:
    """Whether a shown program computed the value: by its outputs, or by its code without them."""
    code, outputs = str(call.get("code") or ""), call.get("outputs")
    if isinstance(outputs, list) and outputs:
        return any(value.value in str(output.get("logs")) for output in objects(outputs))
    return call.get("status") == "completed" and all(part in code for part in value.code)


def _texts(reply: Reply) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield the texts of the messages, each with its URL citations."""
    for item in _items(reply):
        for part in objects(item.get("content")) if item.get("type") == "message" else ():
            notes = objects(part.get("annotations"))
            cited = [note for note in notes if note.get("type") == "url_citation"]
            yield str(part.get("text") or ""), cited


def _misplaced(
    exchange: ParsedExchange, text: str, notes: Sequence[Mapping[str, Any]]
) -> Problem | None:
    length = len(text.encode("utf-16-le", "replace")) // 2  # Clients may count in these units.
    for note in notes:
        start, end = note.get("start_index"), note.get("end_index")
        inside = isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= length
        if not inside:
            message = "The offsets of a citation are not in the text."
            expected = f"0 to {length}, start before end"
            return Problem(exchange, message, expected, f"{start} to {end}", "$.output")
    return None


def _unmapped(exchange: ParsedExchange, text: str, reply: Reply) -> Problem | None:
    """A citation of a display that exists, in a text without any annotation."""
    displays = sum(call.get("status") == "completed" for call in _calls(reply))
    markers = [match[0] for match in _MARKER.finditer(text) if int(match[1]) < displays]
    if not markers:
        return None
    message = "The citations of an answer are not mapped to annotations."
    return Problem(exchange, message, "url_citation", ", ".join(markers), "$.output")
