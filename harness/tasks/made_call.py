"""The call of a tool-call case, compared with the expected one."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from harness.api.parsed_rollout import ParsedRollout
from harness.records.traits import MadeCall
from harness.rules.evidence.authorship import with_arguments, with_call
from harness.rules.evidence.json_text import leaves, parsed_object
from harness.rules.evidence.ledger import extra_tokens
from harness.rules.evidence.subjects import calls
from harness.run.cases import Case

_WORD = re.compile(r"\w+")
_SAME_START = 3


def made_call(parsed: ParsedRollout, case: Case) -> MadeCall | None:
    """Return the first call of the expected tool; None without a call with JSON arguments."""
    made = next((call for call in calls(parsed) if call.call.name == case.tool_name), None)
    reply = None if made is None else made.exchange.reply
    got = None if made is None else parsed_object(made.call.arguments)
    if made is None or reply is None or got is None:
        return None
    expected = dict(case.expected_arguments)
    function = made.exchange.request.functions.get(case.tool_name)
    properties = None if function is None else function.parameters.get("properties")
    call = MadeCall(
        made.exchange.index,
        json.dumps(expected, ensure_ascii=False),
        made.call.arguments,
        same=json.dumps(expected, sort_keys=True) == json.dumps(got, sort_keys=True),
        values_differ=False,
        extra_tokens=extra_tokens(reply),
        absent=tuple(name for name in properties or () if name not in expected),
    )
    if call.same:
        return call
    words = set(_words_instead(expected, got))
    intended = with_arguments(made.call, expected)
    instead = (extra_tokens(with_call(reply, made.call, call)) for call in intended)
    return replace(
        call,
        values_differ=any(
            key in got and list(_values(got[key])) != list(_values(value))
            for key, value in expected.items()
        ),
        in_cot=_is_in_cot(reply.reasoning, expected, got),
        expected_extra_tokens=tuple(tokens for tokens in instead if tokens is not None),
        new_word=bool(words)
        and not words <= set(_words(f"{made.exchange.prompt} {reply.reasoning}")),
        in_prompt=_is_in_prompt(case.prompt, expected, got),
    )


def _is_in_cot(reasoning: str, expected: object, got: object) -> bool:
    wanted, made = (Counter(map(_spelled, leaves(value))) for value in (expected, got))
    lacking, instead = wanted - made, made - wanted
    stated = {value for value in lacking | instead if _is_stated(value, reasoning)}
    return bool(lacking and instead) and stated == lacking.keys()


def _is_in_prompt(prompt: str, expected: object, got: object) -> bool:
    """Return whether a prompt has all values that a call lacks, and none that it has instead."""
    wanted, made = (Counter(map(json.dumps, leaves(value))) for value in (expected, got))
    lacking, instead = (
        {_spelled(json.loads(value)) for value in some} for some in (wanted - made, made - wanted)
    )
    stated = {value for value in lacking | instead if _is_stated(value, prompt)}
    return bool(lacking) and stated == lacking


def _words_instead(expected: Mapping[str, object], got: Mapping[str, object]) -> Iterator[str]:
    """Yield words of the returned texts that replace expected words, in lower case.

    Words that begin alike are forms of the same word, and do not count.
    """
    for key, text in expected.items():
        other = got.get(key)
        wanted, made = (_words(str(side)) for side in (text, other))
        if isinstance(text, str) and isinstance(other, str) and len(wanted) == len(made):
            pairs = zip(wanted, made, strict=True)
            yield from (new for old, new in pairs if not _is_form_of(old, new))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _is_form_of(old: str, new: str) -> bool:
    return old == new or (new.isalpha() and old[:_SAME_START] == new[:_SAME_START])


def _is_stated(value: str, text: str) -> bool:
    return bool(value) and re.search(rf"(?<![\w.]){re.escape(value)}(?!\.?\w)", text) is not None


def _spelled(value: object) -> str:
    return value if isinstance(value, str) else next(_values(value))


def _values(value: object) -> Iterator[str]:
    """Yield the JSON values except strings, in order, as text; 2.0 becomes 2: models write both."""
    if isinstance(value, dict):
        for part in value.values():
            yield from _values(part)
    elif isinstance(value, list):
        yield "["
        for part in value:
            yield from _values(part)
        yield "]"
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
    elif not isinstance(value, str):
        yield json.dumps(value)
