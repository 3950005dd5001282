"""Habits of a correct server's model: how it writes what it could have written otherwise.

They change what the model wrote, as tokens that a correct server then serves; what damages a reply
is a fault of the catalogue. `documented` says where a habit of gpt-oss is reported and how frequent
it is; a share without a report is "no figure known".
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from harmony.vocabulary import encode
from harness.api.parsed_request import ParsedRequest
from harness.selftest.completions import CompletedMessage, Completion, answer, call, cot, preamble

_UNKNOWN = "no figure known"


@dataclass(frozen=True)
class Written:
    """What the model wrote in one turn of a conversation, and the request that it answers."""

    completion: Completion
    request: ParsedRequest
    turn: int

    def with_completion(self, completion: Completion) -> "Written":
        """Return the same turn with another completion."""
        return replace(self, completion=completion)

    @property
    def first_cot(self) -> Completion:
        """The chain of thought, as a completion of at most one message."""
        return self.completion[:1] if self.completion[0].is_cot else ()


Rewrite = Callable[[Written, Random], Completion | None]
"""Returns another completion; None if this one cannot have the habit."""
Change = Callable[[str, Random], str]


@dataclass(frozen=True)
class ModelHabit:
    """A habit of the model; `each_try`: equal greedy requests may differ in it."""

    name: str
    rewrite: Rewrite
    documented: str = _UNKNOWN
    each_try: bool = False


def _texts(kind: str, change: Change) -> Rewrite:
    """Change the text of messages of one kind; answers in a required format stay as they are."""

    def rewrite(written: Written, random: Random) -> Completion | None:
        if kind == "is_answer" and written.request.wants_json:
            return None
        made = tuple(
            replace(one, text=change(one.text, random)) if getattr(one, kind) else one
            for one in written.completion
        )
        return None if made == written.completion else made

    return rewrite


def _arguments(change: Callable[[Any, Random], str]) -> Rewrite:
    """Change the arguments of calls, which are JSON objects."""

    def changed(text: str, random: Random) -> str:
        try:
            value = json.loads(text)
        except ValueError:
            return text
        return change(value, random) if isinstance(value, dict) and value else text

    return _texts("is_call", changed)


def _headers(kind: str, change: Callable[[CompletedMessage, Random], str]) -> Rewrite:
    """Change the headers of messages of one kind."""

    def rewrite(written: Written, random: Random) -> Completion | None:
        made = tuple(
            replace(one, header=change(one, random)) if getattr(one, kind) else one
            for one in written.completion
        )
        return None if made == written.completion else made

    return rewrite


def _instead(kind: str, make: Callable[[Written, Random], Completion]) -> Rewrite:
    """Replace what begins with the first message of one kind."""

    def rewrite(written: Written, random: Random) -> Completion | None:
        messages = written.completion
        at = next((n for n, one in enumerate(messages) if getattr(one, kind)), None)
        if at is None or (kind == "is_answer" and written.request.wants_json):
            return None
        return *messages[:at], *make(written, random)

    return rewrite


_TIES = (("-", "\u2011"), ("'", "\u2019"), (" is ", " was "), (" the ", " a "), (".", "!"))


def _tie(text: str, random: Random) -> str:
    """Another choice of the same length in tokens: a capital, a hyphen, a small word."""
    words = [found.start() for found in re.finditer(r"\b[^\W\d_]", text)]
    starts = random.sample(words, len(words))
    swapped = (text[:at] + text[at].swapcase() + text[at + 1 :] for at in starts)
    spelled = (text.replace(old, new, 1) for old, new in _TIES)
    length = len(encode(text))
    others = (one for one in (*spelled, *swapped) if one != text and len(encode(one)) == length)
    return next(others, text)


_TYPOGRAPHY = str.maketrans({"-": "\u2011", "'": "\u2019"})


def _typographic(text: str, _: Random) -> str:
    """U+2011, U+2019, U+202F before units, typographic quotes, dashes and the ellipsis."""
    quoted = re.sub(r'(?<!\\)"([^"\n]*)"', "\u201c\\1\u201d", text).translate(_TYPOGRAPHY)
    spaced = re.sub(r"(?<=\d) (?=[^\W\d])", "\u202f", quoted)
    return spaced.replace("...", "\u2026").replace(" \u2011 ", " \u2013 ")


def _inside(value: object, change: Callable[[str], str]) -> object:
    """Change every string in a JSON value, but no member name."""
    match value:
        case dict():
            return {key: _inside(inner, change) for key, inner in value.items()}
        case list():
            return [_inside(inner, change) for inner in value]
        case str():
            return change(value)
    return value


def _numbers(value: object) -> object:
    """Return a JSON value with numbers for the truth values in its members."""
    match value:
        case dict():
            return {key: _numbers(inner) for key, inner in value.items()}
        case bool():
            return int(value)
    return value


def _dump(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


_SUBJECTS = "user request tool question answer format result instruction text value".split()
_VERBS = "check read compare consider repeat decide verify follow understand mention".split()
_ENDS = "first;again;carefully;before I answer;as the policy says;in the final channel".split(";")


def _thoughts(times: int) -> Change:
    """Go on thinking until the text is this many times as long."""

    def longer(text: str, random: Random) -> str:
        sentences, length = [text], len(text)
        while length < times * len(text):
            more = f"We {random.choice(_VERBS)} the {random.choice(_SUBJECTS)} of step "
            more += f"{random.randrange(2, 99)} {random.choice(_ENDS)}."
            sentences.append(more)
            length += len(more)
        return " ".join(sentences)

    return longer


def _several_thoughts(count: int) -> Rewrite:
    def split(written: Written, _: Random) -> Completion | None:
        if not written.first_cot or len(words := written.completion[0].text.split(" ")) < count:
            return None
        size = -(-len(words) // count)
        pieces = [" ".join(words[at : at + size]) for at in range(0, len(words), size)]
        return *map(cot, pieces), *written.completion[1:]

    return split


_BEGUN = (
    "<|channel|>??<|end|>",
    "<|channel|>commentary?commentary?<|end|>",
    "<|channel|>commentary 2?<|end|>",
    "<|channel|>commentary to=assistant<|channel|>commentary?<|end|>",
    "<|channel|>commentary to=functions<|channel|>commentary to=assistant",
)
_TO_ASSISTANT = "<|channel|>commentary to=assistant<|channel|>analysis<|message|>"


def _aborted_header(written: Written, random: Random) -> Completion | None:
    """Begin a header, and begin again: 8 to 14 tokens that no text shows."""
    at = random.randrange(len(written.completion))
    message = written.completion[at]
    header = f"{random.choice(_BEGUN)}<|start|>assistant{message.header}"
    return *written.completion[:at], replace(message, header=header), *written.completion[at + 1 :]


def _to(recipient: str) -> Callable[[CompletedMessage, Random], str]:
    """Address a message that calls nothing."""
    return lambda message, _: message.header.replace("<|message|>", f" to={recipient}<|message|>")


def _channel(before: str) -> Rewrite:
    """Write something before the name of the first channel."""

    def rewrite(written: Written, _: Random) -> Completion | None:
        header = written.completion[0].header.replace("<|channel|>", f"<|channel|>{before}", 1)
        return replace(written.completion[0], header=header), *written.completion[1:]

    return rewrite


def _texts_ended(kind: str, end: str) -> Rewrite:
    """End the messages of one kind by other tokens."""

    def rewrite(written: Written, _: Random) -> Completion | None:
        made = tuple(
            replace(one, end=end) if getattr(one, kind) else one for one in written.completion
        )
        return None if made == written.completion else made

    return rewrite


def _named(change: Callable[[str], str]) -> Callable[[CompletedMessage, Random], str]:
    def respell(message: CompletedMessage, _: Random) -> str:
        name = message.name
        return message.header.replace(f"functions.{name}", f"functions.{change(name)}", 1)

    return respell


def _before(kind: str, text: str) -> Rewrite:
    """Write a commentary before the answer or the call."""
    return _instead(kind, lambda written, _: (preamble(text), written.completion[-1]))


def _unfinished(written: Written, _: Random) -> Completion | None:
    """End the reply after the chain of thought."""
    ended = [replace(one, end="<|return|>") for one in written.first_cot]
    return tuple(ended) or None


def _wrong_tool(written: Written, random: Random) -> Completion | None:
    message = written.completion[-1]
    others = sorted(written.request.functions.keys() - {message.name})
    if not message.is_call or not others:
        return None
    return *written.completion[:-1], call(random.choice(others), message.text)


def _call_in_thought(written: Written, _: Random) -> Completion | None:
    message = written.completion[-1]
    if not message.is_call or not written.first_cot:
        return None
    plan = f'{written.completion[0].text} {{"name": "{message.name}", "arguments": {message.text}}}'
    return cot(plan), *written.completion[1:]


def _compact(value: object, _: Random) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _broken(value: object, random: Random) -> str:
    text = _dump(value)
    broken = (text[:-1], text[:-1] + ",}", text.replace('"', "'"), text + "}")
    return random.choice(broken)


def _said(text: str) -> Callable[[Written, Random], Completion]:
    return lambda written, random: (answer(text),)


_SORRY = "I\u2019m sorry, but I can\u2019t help with that."
_ASK = "Could you tell me which one you mean, so that I can look it up?"
_LANGUAGES = (
    "Voil\u00e0 la r\u00e9ponse : {}",
    "\u7b54\u3048\u306f\u3053\u3061\u3089\u3067\u3059\u3002{}",
    "\u041e\u0442\u0432\u0435\u0442: {}",
    "\u7b54\u6848\u662f\uff1a{}",
    "\u0627\u0644\u0625\u062c\u0627\u0628\u0629: {}",
)


def _shape(pattern: str) -> Change:
    return lambda text, _: pattern.format(text) if text else text


_SHAPES = {
    "bold": "**{}**",
    "heading and list": "### Answer\n\n- {}",
    "table": "| Answer |\n|---|\n| {} |",
    "fence": "```text\n{}\n```",
    "LaTeX": "\\[\n\\boxed{{\\text{{{}}}}}\n\\]",
    "emoji": "{} \U0001f44d\U0001f3fd",
    "preface": "Here is what you asked for:\n\n{}",
    "closing offer": "{}\n\nLet me know if you need more!",
    "citation": "{}\u30101\u2020L3-L5\u3011",
}
_INSTEAD_OF_CALLS = {
    "refusal instead of a call": (_SORRY, _UNKNOWN),
    "no call": ("I have done what you asked for.", _UNKNOWN),
    "question instead of a call": (_ASK, _UNKNOWN),
    "no access": ("I don\u2019t have access to real\u2011time data.", "vLLM 22578"),
}
_RAW = (
    ModelHabit("the same again", lambda written, _: written.completion, "the control"),
    ModelHabit(
        "near-ties in answers",
        _texts("is_answer", _tie),
        "80 of 1,000 greedy completions of a 235B model differ (Thinking Machines, 2025)",
        each_try=True,
    ),
    ModelHabit("near-ties in CoTs", _texts("is_cot", _tie), "as in answers", each_try=True),
    ModelHabit(
        "another beginning",
        _texts("is_answer", lambda text, _: f"Sure. {text}" if text else text),
        "as in answers",
        each_try=True,
    ),
    ModelHabit("typography in answers", _texts("is_answer", _typographic)),
    ModelHabit("typography in CoTs", _texts("is_cot", _typographic)),
    ModelHabit(
        "typography in arguments",
        _arguments(lambda value, r: _dump(_inside(value, lambda text: _typographic(text, r)))),
    ),
    ModelHabit(
        "commentary to the assistant",
        _headers("is_cot", lambda one, _: _TO_ASSISTANT),
        "'a common generation' of 20b (llama.cpp PR 21286)",
    ),
    ModelHabit("CoT to the assistant", _headers("is_cot", _to("assistant")), "as before"),
    ModelHabit("answer to the user", _headers("is_answer", _to("user"))),
    ModelHabit(
        "aborted header",
        _aborted_header,
        "9 of 850 turns of 20b, 2.3 % and 4 % in two logs (llama.cpp 27720)",
    ),
    ModelHabit(
        "dashes in the channel", _channel("\u2013\u2013"), "`\u2013\u2013commentary` (harmony 38)"
    ),
    ModelHabit(
        "answer ended twice",
        _texts_ended("is_answer", "<|end|><|return|>"),
        "1 of 563 replies of 120b (vLLM 50690)",
    ),
    ModelHabit("call ended by return", _texts_ended("is_call", "<|return|>"), "SGLang PR 10576"),
    ModelHabit(
        "call in the final channel",
        _headers(
            "is_call",
            lambda one, _: f"<|channel|>final <|constrain|>functions.{one.name}<|message|>",
        ),
        "17 of 200 calls of 20b without the usual system message (tinker-cookbook 947)",
    ),
    ModelHabit("two CoTs", _several_thoughts(2)),
    ModelHabit("seven CoTs", _several_thoughts(7), "seven messages instead of two (vLLM 22403)"),
    ModelHabit(
        "name with hyphens",
        _headers("is_call", _named(lambda name: name.replace("_", "-"))),
        "`functions.web-browsing` (vLLM 51977)",
    ),
    ModelHabit(
        "name in words",
        _headers("is_call", _named(lambda name: name.replace("_", " ").title())),
        "`functions.Web Search` (lmstudio 876)",
    ),
    ModelHabit("functions twice", _headers("is_call", _named(lambda name: f"functions.{name}"))),
    ModelHabit(
        "commentary before answers",
        _before("is_answer", "I have what I need."),
        "also without tools (vLLM PR 23167)",
    ),
    ModelHabit("commentary before calls", _before("is_call", "Let me look that up for you.")),
    ModelHabit("empty reply", _unfinished, "20b, short prompts (omeryasirkucuk/amx PR 372)"),
    ModelHabit(
        "empty reply with a format",
        lambda written, r: _unfinished(written, r) if written.request.wants_json else None,
    ),
    ModelHabit("refusal", _instead("is_answer", _said(_SORRY))),
    ModelHabit("CoT 5 times longer", _texts("is_cot", _thoughts(5))),
    ModelHabit("CoT 20 times longer", _texts("is_cot", _thoughts(20))),
    ModelHabit("short CoT", _texts("is_cot", lambda text, _: text.partition(".")[0][:40] + ".")),
    ModelHabit("no CoT", lambda written, _: written.completion[1:] if written.first_cot else None),
    ModelHabit(
        "CoTs of one length",
        _texts("is_cot", lambda text, r: _thoughts(9)("We need to answer.", r)[:160]),
    ),
    ModelHabit("JSON over several lines", _arguments(lambda value, _: _dump(value, indent=2))),
    ModelHabit("compact JSON", _arguments(_compact)),
    ModelHabit(
        "members in another order",
        _arguments(lambda value, _: _dump(dict(reversed(value.items())))),
    ),
    ModelHabit("escapes in arguments", _arguments(lambda value, _: json.dumps(value))),
    *(ModelHabit(name, _texts("is_answer", _shape(pattern))) for name, pattern in _SHAPES.items()),
    ModelHabit(
        "another language",
        _texts("is_answer", lambda text, r: r.choice(_LANGUAGES).format(text) if text else text),
    ),
    ModelHabit("call as JSON in the CoT", _call_in_thought),
    ModelHabit(
        "call in analysis",
        _headers("is_call", lambda one, _: one.header.replace("commentary", "analysis", 1)),
        "vLLM PR 28139, 35907",
    ),
    ModelHabit(
        "recipient before the channel",
        _headers(
            "is_call",
            lambda one, _: f" to=functions.{one.name}<|channel|>commentary json<|message|>",
        ),
    ),
    *(
        ModelHabit(name, _instead("is_call", _said(text)), source)
        for name, (text, source) in _INSTEAD_OF_CALLS.items()
    ),
    ModelHabit(
        "call as JSON in the answer",
        _instead("is_call", lambda w, _: (answer(w.completion[-1].text),)),
        "120b (google/adk-python 3431)",
    ),
    ModelHabit("wrong tool", _wrong_tool),
    ModelHabit(
        "unknown tool",
        _headers("is_call", _named(lambda name: "generic_command")),
        "20b (aliasrobotics/cai 405)",
    ),
    ModelHabit("malformed JSON", _arguments(_broken), "20b (Ollama 12884)"),
    ModelHabit(
        "code as arguments",
        _arguments(lambda value, _: f"{next(iter(value))}({list(value.values())})"),
        "20b (Ollama 12884)",
    ),
    ModelHabit("arguments in arguments", _arguments(lambda value, _: _dump({"arguments": value}))),
    ModelHabit(
        "numbers as strings",
        _arguments(
            lambda value, _: _dump(
                {k: str(v) if type(v) in (int, float) else v for k, v in value.items()}
            )
        ),
    ),
)
HABITS: dict[str, ModelHabit] = {habit.name: habit for habit in _RAW}


def _everywhere(change: Callable[[str], str]) -> Rewrite:
    """Change answers, and the strings in arguments."""

    def rewrite(written: Written, random: Random) -> Completion | None:
        answered = _texts("is_answer", lambda text, _: change(text))(written, random)
        made = answered or written.completion
        called = _arguments(lambda value, _: _dump(_inside(value, change)))
        return called(written.with_completion(made), random) or answered

    return rewrite


def _draft(written: Written, _: Random) -> Completion | None:
    """End the CoT with the answer, without a point after it."""
    answers = [one.text for one in written.completion if one.is_answer]
    if not written.first_cot or not answers:
        return None
    thought = replace(written.completion[0], text=f"{written.completion[0].text} So: {answers[0]}")
    return thought, *written.completion[1:]


_FORMAT_IN_WORDS = (
    "First comes analysis, then commentary to=functions.get_weather json, and then final."
)
SLIPS: dict[str, ModelHabit] = {
    habit.name: habit
    for habit in (
        ModelHabit("one backslash for two", _arguments(lambda v, _: _dump(v).replace(r"\\", "\\"))),
        ModelHabit("no backslashes", _everywhere(lambda text: text.replace("\\", ""))),
        ModelHabit("entities decoded", _everywhere(html.unescape)),
        ModelHabit("entities encoded", _everywhere(html.escape)),
        ModelHabit("lower case", _everywhere(str.lower)),
        ModelHabit("one line", _everywhere(lambda text: " ".join(text.split()))),
        ModelHabit("no accents", _everywhere(lambda text: text.encode("ascii", "ignore").decode())),
        ModelHabit("trimmed", _everywhere(str.strip)),
        ModelHabit("masked", _everywhere(lambda text: re.sub(r"\b[A-Z][a-z]+", "***", text))),
        ModelHabit("arguments encoded twice", _arguments(lambda v, _: json.dumps(_dump(v)))),
        ModelHabit("an empty object first", _arguments(lambda v, _: "{}" + _dump(v))),
        ModelHabit("true as 1", _arguments(lambda v, _: _compact(_numbers(v), _))),
        ModelHabit("answer twice", _texts("is_answer", lambda text, _: f"{text}\n\n{text}")),
        ModelHabit("half an answer", _texts("is_answer", lambda text, _: text[: len(text) // 2])),
        ModelHabit("a space first", _texts("is_answer", lambda text, _: f" {text}")),
        ModelHabit("draft of the answer", _draft),
        ModelHabit("format in words", _instead("is_answer", _said(_FORMAT_IN_WORDS))),
    )
}
"""What a model writes in every try of one or two samples, and a server could have made of its text.
Its tokens are those of what it wrote."""
_SLIPS = (
    *("aborted header", "commentary to the assistant", "name with hyphens", "functions twice"),
    *("answer ended twice", "call ended by return", "seven CoTs", "call in analysis"),
)
"""What reports of gpt-oss call mistakes of the model."""
_ALTERNATIVES = ("near-ties in answers", "near-ties in CoTs", "another beginning")
_MIXTURES: Mapping[str, Mapping[str, float]] = {
    "20b": {
        "CoT 5 times longer": 1.0,
        "typography in answers": 0.5,
        "typography in CoTs": 0.5,
        "bold": 0.1,
        "JSON over several lines": 0.1,
        "compact JSON": 0.3,
        **dict.fromkeys(_SLIPS, 0.01),
    },
    "20b on a real engine": {
        "CoT 5 times longer": 1.0,
        "typography in answers": 0.5,
        "compact JSON": 0.3,
        **dict.fromkeys(_SLIPS, 0.01),
        **dict.fromkeys(_ALTERNATIVES, 0.03),
    },
    "20b without slips": {"CoT 5 times longer": 1.0, "typography in answers": 1.0, "bold": 0.3},
    "120b": {
        "typography in answers": 0.5,
        "typography in arguments": 0.02,
        "compact JSON": 1.0,
        "heading and list": 0.1,
        "two CoTs": 0.02,
        **dict.fromkeys(_SLIPS, 0.003),
    },
    "120b on a real engine": {
        "typography in answers": 0.5,
        "typography in arguments": 0.02,
        "compact JSON": 1.0,
        **dict.fromkeys(_SLIPS, 0.003),
        **dict.fromkeys(_ALTERNATIVES, 0.02),
    },
    "long thoughts": {"CoT 20 times longer": 0.3, "near-ties in CoTs": 0.08, "citation": 0.05},
    "careless calls": {
        "no call": 0.03,
        "wrong tool": 0.02,
        "question instead of a call": 0.02,
        "malformed JSON": 0.02,
        "name in words": 0.01,
        "unknown tool": 0.01,
        "commentary before calls": 0.2,
        "arguments in arguments": 0.01,
    },
    "chatty": {
        "preface": 0.2,
        "closing offer": 0.2,
        "emoji": 0.1,
        "table": 0.05,
        "fence": 0.05,
        "another language": 0.02,
        "refusal": 0.01,
        "commentary before answers": 0.02,
    },
}
"""Habits with the shares of documented reports, or cautious ones."""
MIXTURES: Mapping[str, Mapping[ModelHabit, float]] = {
    name: {HABITS[habit]: share for habit, share in shares.items()}
    for name, shares in _MIXTURES.items()
}
