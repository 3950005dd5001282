"""What reaches the model, judged from the prompt tokens that a provider reports.

Each probe compares two requests that differ in one element. The difference of their prompt tokens
must equal that of a healthy harmony rendering. Absolute counts are not judged, because they include
what a provider adds to every prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, combinations
from statistics import median

from pydantic import TypeAdapter

from harmony.render import text_tokens
from harness.api.items import Message, Reasoning, ToolResult
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import APIS, BOTH_APIS, Api
from harness.records.scores import Severity
from harness.rules.evidence.documents import document
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.evidence.rendering import (
    CERTAIN,
    Prompt,
    added_text,
    bare_lengths,
    count,
    differences,
    explanations,
    instructs,
)
from harness.rules.evidence.tables import table
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import (
    MAY_BE_REFUSED,
    ProbeGroup,
    ProbeRequest,
    Sent,
    TrialResult,
    Trials,
)
from harness.rules.rule import CHAT, HARMONY, Problem

_CORPUS = table("prompt")
_LONG = "\n\n    ".join(
    f"Buoy {at}  lies at mile {7 * at % 100}. {'=' * 474}" for at in range(1, 41)
)
"""20 kB in about 840 tokens, with runs of blanks and lines that servers may collapse."""
PROMPTS = TypeAdapter(dict[str, Prompt]).validate_python(_CORPUS["prompts"])


def _long_prompts() -> Iterator[tuple[str, Prompt]]:
    """Prompts that are too long to write down."""
    base, tool, called = PROMPTS["base"], PROMPTS["tool"], PROMPTS["called"]
    question, call, _ = called.turns
    (tide,) = tool.tools
    hours = (
        (Message("user", f"And at {at % 8}?"), Message("assistant", f"{at % 8} m."))
        for at in range(20)
    )
    # More than 1,024 tokens, a common limit of servers that cut prompts.
    yield "long question", Prompt((Message("user", f"{_LONG}\n{document(600)}"),))
    yield "long system", Prompt((Message("system", _LONG), *base.turns))
    yield "long description", replace(tool, tools=(replace(tide, description=_LONG),))
    yield "long thought", replace(called, turns=(question, Reasoning(_LONG), *called.turns[1:]))
    yield "longer result", replace(called, turns=(question, call, ToolResult("call_1", _LONG)))
    several = (tide, *(replace(tide, name=f"{tide.name}_{at}") for at in range(1, 25)))
    yield "many tools", replace(tool, tools=several)
    yield "long session", Prompt((*chain.from_iterable(hours), *base.turns), several)


PROMPTS |= _long_prompts()
_FEWEST_ADDED_TOKENS = 8  # tokens of a text that a provider adds to every prompt
_FEWEST_LENGTHS = 10
_USUAL = 0.2
"""The least share of prompts that have as many tokens more as usual. A server that renders no tools
still has 0.33 of them, one that counts a quarter of the characters 0.05."""
_SAME_SCALE, _FEW_OFF, _OFF, _FITTING = 0.03, 4, 0.05, 0.9
"""The largest deviation of the scale from 1; by how many tokens, or by which share, a prompt may be
off the line; and the least share of prompts that are on it. A tokenizer that splits words otherwise
changes some texts more than others, and a lost part of prompts only those that have it."""
_HARMLESS = range(-1, 3)
"""Tokens by which a system message may be longer: Ollama's has one more than harmony's. One that
lacks two has other text: `commentary` in the list of channels is two tokens."""
_WITH_INSTRUCTIONS = frozenset(_CORPUS["instructions"])
"""Requests whose first message is sent as `instructions`, which Chat lacks."""
_NOT_CHAT = tuple(api for api in APIS if api != "chat")
_RARE = frozenset({
    "result in parts", "longer result", "empty result", "long description", "late system",
    "two questions",
})  # fmt: skip
"""Requests that a provider may reject."""


def _request(name: str, prompt: Prompt) -> ProbeRequest:
    first, *others = prompt.turns
    if name in _WITH_INSTRUCTIONS and isinstance(first, Message):
        turns, instructions = tuple(others), str(first.text)
    else:
        turns, instructions = prompt.turns, None
    return ProbeRequest(
        name,
        turns,
        prompt.tools,
        instructions,
        max_tokens=16,
        whole=False,
        provokes=MAY_BE_REFUSED if name in _RARE else frozenset(),
        apis=_NOT_CHAT if instructions is not None else APIS,
    )


GROUP = ProbeGroup(
    "prompt",
    HARMONY,
    relations=UNRELIABLE_PROMPT_TOKENS,
    component="prompt",
)
REQUESTS = {name: GROUP.send(_request(name, prompt)) for name, prompt in PROMPTS.items()}
_BASE, _SYSTEM, _TOOL, _BOTH = (
    REQUESTS[name] for name in ("base", "system", "tool", "system and tool")
)


@dataclass(frozen=True)
class _Pair:
    """A probe that compares the prompt tokens of a longer and a shorter request.

    `expected` is the pair of prompts whose difference is correct, if not these two. `also` are
    further pairs with the same difference. `slack` is the share by which correct renderings of a
    schema may differ. `plain` is the pair that shows whether such a text arrives at all: what fails
    like it says nothing about the text of this one.
    """

    id: str
    longer: str
    shorter: str
    summary: str
    why: str
    source: str = HARMONY
    expected: tuple[str, str] | None = None
    also: tuple[tuple[str, str], ...] = ()
    slack: float = 0.0
    plain: str | None = None
    severity: Severity = "error"
    apis: tuple[Api, ...] = BOTH_APIS
    component: str = "messages"
    fix: str | None = None


PAIRS = TypeAdapter(tuple[_Pair, ...]).validate_python(_CORPUS["pairs"])
_BY_ID = {pair.id: pair for pair in PAIRS}


@GROUP.probe(
    "prompt.bare",
    _BASE,
    severity="warning",
    fix=(
        "Compare the rendered system message with openai-harmony's, and leave out what the server"
        " adds to it."
    ),
)
def _bare(base: Sent) -> Trials:
    """A prompt without instructions and tools is as long as harmony's, with or without a date.

    A longer prompt contains text that the provider adds, such as instructions or built-in tools:
    an error, because the model then follows instructions that no client wrote. A shorter one lacks
    part of the system message. One token less, or up to two more, is harmless.
    """
    exchange, count = base.counted()
    right = bare_lengths(PROMPTS["base"])
    message = "The length of a minimal prompt differs from harmony's."
    if added := _added_text(base):
        message = f"The provider adds {added} tokens to a minimal prompt."
        if _joins_instructions(base):
            message = f"{message} It joins the client's instructions to its own."
    expected = " or ".join(f"{tokens} tokens" for tokens in sorted(right))
    severity: Severity | None = "error" if added else None
    other = Problem(exchange, message, expected, f"{count} tokens", "$.usage", severity=severity)
    yield None if any(count - tokens in _HARMLESS for tokens in right) else other


@GROUP.probe(
    "prompt.scale",
    REQUESTS.values(),
    source=CHAT,
    component="usage",
    fix="Count the tokens of the rendered prompt, and do not round or scale the count.",
)
def _scale(prompts: Sent) -> Trials:
    """A longer prompt has one more reported token for each of its tokens.

    A count in another unit, or with a factor, is wrong in every prompt: so are the costs and the
    context length that clients compute. Estimates, such as a quarter of the characters, fit no
    rendering. No other rule can then judge prompts by their tokens.
    """
    counted: list[tuple[int, int]] = []
    for each in prompts:
        with suppress(NotVerifiableError):
            got = each.prompt
            counted.append((count(PROMPTS[each.name]), got))
    exchange, _ = prompts.beside(_BASE.id).counted()
    pairs = [(a, b) for a, b in combinations(counted, 2) if a[0] != b[0]]
    if len(dict(counted)) < _FEWEST_LENGTHS:
        raise NotVerifiableError("few_prompts")
    slope = median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs)  # Theil and Sen's
    usual = Counter(got - due for due, got in counted).most_common(1)[0][1]
    more = median(got - slope * due for due, got in counted)
    off = [abs(got - more - slope * due) / max(_FEW_OFF, _OFF * got) for due, got in counted]
    fitting = sum(share <= 1 for share in off)
    got_text = f"{slope:.2f} tokens, in {fitting} of {len(counted)} requests"
    if abs(slope - 1) > _SAME_SCALE and fitting >= _FITTING * len(counted):
        message = "The prompt tokens of all requests are wrong in the same proportion."
    elif usual < _USUAL * len(counted):
        message = "The reported prompt tokens do not follow the prompts, as if estimated."
        got_text = f"at most {usual} of {len(counted)} requests differ from it in the same way"
    else:
        yield None
        return
    yield Problem(exchange, message, "1 token for each token of the prompt", got_text, "$.usage")


@GROUP.probe(
    "prompt.tool.order",
    _BOTH,
    _TOOL,
    _SYSTEM,
    _BASE,
    severity="warning",
    fix="Render the instructions before the tools.",
)
def _order(both: Sent, tool: Sent, system: Sent, base: Sent) -> Trials:
    """Instructions precede tools in the developer message.

    The model was trained on this order. Ollama's template reverses it.
    """
    longer, more = both.counted()
    less = tool.prompt
    if system.prompt - base.prompt not in _right(system.name, base.name):
        raise NotVerifiableError("instructions_not_rendered")
    pair = PROMPTS[both.name], PROMPTS[tool.name]
    first, either = differences(*pair, instructions_last=False), differences(*pair)
    if more - less not in either:
        raise NotVerifiableError("tokens_of_neither_order")
    message = "The prompt is as long as one with the tools before the instructions."
    last = Problem(longer, message, _as_text(first), f"{more - less} more", "$.usage")
    yield None if more - less in first else last


def _judge(pair: _Pair, sent: Sent) -> Trials:
    same = pair.expected or (pair.longer, pair.shorter)
    others = (replace(pair, longer=a, shorter=b, expected=same) for a, b in pair.also)
    judged: list[TrialResult] = []
    missing: NotVerifiableError | None = None
    for tried in (pair, *others):
        try:
            judged.append(_quoted(tried, sent) or _difference(tried, sent))
        except NotVerifiableError as error:
            missing = missing or error
    if missing is not None and not any(judged):
        raise missing
    return iter(judged)


@dataclass(frozen=True)
class _Counted:
    """The prompt tokens of a pair of requests, and the right differences."""

    longer: ParsedExchange
    more: int
    less: int
    right: frozenset[int]
    off: int  # tokens by which the difference deviates from the nearest right one; 0 if it may

    @classmethod
    def of(cls, pair: _Pair, sent: Sent) -> _Counted:
        """Count both requests of a pair. Raises NotVerifiableError."""
        longer, more = sent.beside(pair.longer).counted()
        less = sent.beside(pair.shorter).prompt
        right = _right(*(pair.expected or (pair.longer, pair.shorter)))
        off = min((more - less - tokens for tokens in right), key=abs)
        return cls(longer, more, less, right, off if abs(off) > pair.slack * max(right) else 0)

    @property
    def got(self) -> int:
        """The difference."""
        return self.more - self.less


def _difference(pair: _Pair, sent: Sent) -> TrialResult:
    """Return the problem of one pair, if any. Raises NotVerifiableError."""
    counted = _Counted.of(pair, sent)
    if not counted.off:
        return None
    first, second = pair.expected or (pair.longer, pair.shorter)
    got, word = counted.got, "more" if counted.got >= 0 else "fewer"
    if _is_joined(first, second, got) and _joins_instructions(sent):
        raise NotVerifiableError("joined_instructions", rule="prompt.bare")
    if follows_from_added_text(sent, got, counted.right):
        raise NotVerifiableError("text_added_to_some", rule="prompt.bare")
    for shown in (each for each in PAIRS if (each.longer, each.shorter) == (pair.shorter, "base")):
        # The provider adds a text to the shorter request alone, as rapid-mlx to tools.
        if counted.off < 0 and _Counted.of(shown, sent).off == -counted.off:
            raise NotVerifiableError("text_added_to_some", rule=shown.id)
    if _shares_added_headings(first, second, sent) and 0 < got < min(counted.right):
        raise NotVerifiableError("headings_added", rule="prompt.bare")
    if _same_reply(pair, sent):
        raise NotVerifiableError("same_reply", request=pair.shorter, rule="reply.id.shared")
    alike = False
    if pair.plain is not None:
        with suppress(NotVerifiableError):
            plain = _Counted.of(_BY_ID[pair.plain], sent)
            alike = bool(plain.off) and (not got or counted.off == plain.off)
    if alike:
        raise NotVerifiableError("fails_like_plain", rule=str(pair.plain))
    expected = f"{'about ' if pair.slack else ''}{_as_text(counted.right)}"
    likely = _likely(pair, got, sent)
    return Problem(
        counted.longer,
        f"Request {pair.longer!r} should have {expected} prompt tokens than request "
        f"{pair.shorter!r}, but it has {abs(got)} {word}.",
        f"{expected}: {added_text(PROMPTS[first], PROMPTS[second])!r}",
        f"{abs(got)} {word} ({counted.more} and {counted.less})"
        + (f", as if {likely}" if likely else ""),
        "$.usage",
    )


def _quoted(pair: _Pair, sent: Sent) -> Problem | None:
    """Report tool results as JSON strings: OpenAI's chat template writes them so.

    The model reads them, but was trained on results as they are. Ollama has no other template.
    """
    counted = _Counted.of(pair, sent)
    if not (counted.off and all(_fits_quoted(each, sent) for each in (pair, *_OF_RESULTS))):
        return None
    reply = counted.longer.reply
    of_ollama = reply is not None and reply.raw.get("system_fingerprint") == "fp_ollama"
    return Problem(
        counted.longer,
        "Tool results are written as JSON strings, in quotes and with escapes, as by OpenAI's chat "
        "template.",
        f"{_as_text(counted.right)}: the result as it was sent",
        f"{counted.got} more ({counted.more} and {counted.less})",
        "$.usage",
        severity="info" if of_ollama else "warning",
    )


_OF_RESULTS = [
    _BY_ID[id_]
    for id_ in ("prompt.result.long", "prompt.exact.result", "prompt.exact.result.marks")
]


def _fits_quoted(pair: _Pair, sent: Sent) -> bool:
    """Whether a difference is that of results as JSON strings, or unknown."""
    try:
        got = _Counted.of(pair, sent).got
    except NotVerifiableError:
        return True
    return got in _right(*(pair.expected or (pair.longer, pair.shorter)), quoted_results=True)


def _added_text(sent: Sent) -> int:
    """The tokens that the provider adds to a minimal prompt; 0 if they are too few for a text."""
    count = sent.beside(_BASE.id).prompt
    added = count - max(bare_lengths(PROMPTS["base"]))
    return added if added >= _FEWEST_ADDED_TOKENS else 0


def follows_from_added_text(sent: Sent, got: int, right: Iterable[int]) -> bool:
    """Whether a difference is wrong only by the text that the provider adds to some prompts.

    Some add their own instructions only where the client sends none.
    """
    try:
        added = _added_text(sent)
    except NotVerifiableError:
        return False
    dated = max(bare_lengths(PROMPTS["base"])) - min(bare_lengths(PROMPTS["base"]))
    sizes = {added, added + dated} if added else set[int]()
    return any(abs(got - tokens) in sizes for tokens in right)


def _shares_added_headings(longer: str, shorter: str, sent: Sent) -> bool:
    """Whether the text that the provider adds may have the headings that only `longer` needs.

    A gateway that adds a tool, such as Headroom, has the developer message in every prompt.
    """
    more, less = (
        bool(PROMPTS[name].tools) or any(map(instructs, PROMPTS[name].turns))
        for name in (longer, shorter)
    )
    try:
        return more and not less and _added_text(sent) > 0
    except NotVerifiableError:
        return False


def _same_reply(pair: _Pair, sent: Sent) -> bool:
    """Whether both requests got one reply, as from a cache that ignores differences.

    One id that most replies have is none of a reply.
    """
    ids = {
        request: each.exchanges[0].reply.raw.get("id")
        for request, made in sent.responses.rollouts.items()
        for each in made[:1]
        if each.exchanges and each.exchanges[0].reply is not None
    }
    shared = ids.get(pair.longer)
    rare = 2 * sum(other == shared for other in ids.values()) < len(ids)
    return bool(shared) and rare and shared == ids.get(pair.shorter)


def _joins_instructions(sent: Sent) -> bool:
    """Whether the provider joins a system message to text that it adds to every prompt."""
    system, base = sent.beside(_SYSTEM.id), sent.beside(_BASE.id)
    if not system.made:
        return False
    got = system.prompt - base.prompt
    healthy = got in _right(system.name, base.name)
    return _is_joined(system.name, base.name, got) and not healthy and _added_text(sent) > 0


def _is_joined(longer: str, shorter: str, got: int) -> bool:
    """Whether a difference is that of instructions without a message and a heading of their own."""
    turns, others = PROMPTS[longer].turns, PROMPTS[shorter].turns
    texts = ["".join(turn.text) for turn in turns if isinstance(turn, Message) and instructs(turn)]
    same = tuple(turn for turn in turns if not instructs(turn)) == others
    if not texts or not same or PROMPTS[longer].tools != PROMPTS[shorter].tools:
        return False
    joined = (between.join(["", *texts]) for between in ("", "\n", "\n\n"))
    return any(abs(got - len(text_tokens(text))) <= 1 for text in joined)


def _likely(pair: _Pair, got: int, sent: Sent) -> str:
    """Return the mistakes that explain the difference of this pair and of another one.

    One number alone fits most mistakes by chance, unless it is 0: nothing was added.
    """
    named = _explained(pair.longer, pair.shorter, got)
    others = set(named if got == 0 else CERTAIN)
    for other in PAIRS if named and got else ():
        if other.longer != pair.longer and sent.responses.api in other.apis:
            with suppress(NotVerifiableError):
                more, less = (sent.beside(name).prompt for name in (other.longer, other.shorter))
                others.update(_explained(other.longer, other.shorter, more - less))
    return ", or ".join([name for name in named if name in others][:4])


@cache
def _explained(longer: str, shorter: str, got: int) -> Sequence[str]:
    return explanations(PROMPTS[longer], PROMPTS[shorter], got)


@cache
def _right(longer: str, shorter: str, *, quoted_results: bool = False) -> frozenset[int]:
    """The differences of two prompts; rendering long ones takes most of the time of a judgement."""
    return differences(PROMPTS[longer], PROMPTS[shorter], quoted_results=quoted_results)


def _as_text(right: Iterable[int]) -> str:
    numbers = sorted(right)
    least, most = numbers[0], numbers[-1]
    if least < most == least + len(numbers) - 1:
        return f"{least} to {most} more"
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last} more" if others else f"{last} more"


for _pair in PAIRS:
    _names = (_pair.longer, _pair.shorter, *chain.from_iterable(_pair.also))
    GROUP.probe(
        _pair.id,
        [REQUESTS[name] for name in dict.fromkeys(_names)],
        source=_pair.source,
        severity=_pair.severity,
        apis=_pair.apis,
        component=_pair.component,
        fix=_pair.fix,
        text=f"{_pair.summary} {_pair.why}",
    )(partial(_judge, _pair))
