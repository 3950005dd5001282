"""Prompt probes with token counts of rendered prompts."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, replace
from itertools import product, starmap
from typing import Any

import openai_harmony as oh
import pytest
from healthy import exchange, json_response, rollout
from probing import refusal
from replies import Reply, chat_whole, responses_whole

from harmony.render import text_tokens
from harmony.vocabulary import harmony_encoding
from harness.api.items import Message, Reasoning, Tool, ToolCall, ToolResult
from harness.api.parsed_rollout import parse_rollout
from harness.records.analysis import RuleResult
from harness.records.conditions import Api
from harness.records.settings import Thresholds
from harness.rules.account.differences import CHANGES
from harness.rules.account.entry import What
from harness.rules.evidence import rendering
from harness.rules.evidence.rendering import (
    DEVIATIONS,
    Arguments,
    Prompt,
    Quoted,
    Rendering,
    _with_published_tools,
    count,
    differences,
    instructs,
    with_texts,
)
from harness.rules.probe import ProbeOptions
from harness.rules.prompt.probes import GROUP, PROMPTS
from harness.rules.results import probe_results
from harness.verdict.relations import related

Count = Callable[[Prompt], int | None]
_SYSTEM_MESSAGE = 7
_LIBRARY = Rendering()
RENDERINGS = list(starmap(Rendering, product(*DEVIATIONS)))
PROBES = [each for each in GROUP.probes if each.about.family == "prompt"]


def judged(
    tokens: Count,
    api: Api = "chat",
    *,
    ollama: bool = False,
    refused: str | None = None,
    ids: Callable[[str], str] | None = None,
) -> Mapping[str, RuleResult]:
    """The results of a provider with these token counts, which may refuse a request with 400.

    `ids` gives the id of the reply to each request; by default, all have the same one.
    """
    make, name = {
        "chat": (chat_whole, "prompt_tokens"),
        "responses": (responses_whole, "input_tokens"),
    }[api]
    rollouts = {}
    for request in (each for each in GROUP.requests(api) if each.id in PROMPTS):
        whole = make(Reply(text="Hello."))
        counted = tokens(PROMPTS[request.id])
        if counted is None:
            del whole["usage"]
        else:
            whole["usage"] |= {name: counted, "total_tokens": counted + 20}
        if ollama:
            whole["system_fingerprint"] = "fp_ollama"
        if ids is not None:
            whole["id"] = ids(request.id)
        answer = refusal() if request.id == refused else json_response(whole)
        recorded = rollout([answer], api=api, sample=request.id, task=GROUP.name)
        rollouts[request.id] = [parse_rollout(recorded)]
    return {
        each.check.id: each
        for each in probe_results(PROBES, rollouts, ProbeOptions("m", (api,)))
        if api in each.check.apis
    }


def healthy(prompt: Prompt, how: Rendering = _LIBRARY) -> int:
    """Token counts with stale CoT dropped and a longer system message."""
    pairs = zip(prompt.turns, (*prompt.turns[1:], None), strict=True)
    finals = [
        at
        for at, (turn, after) in enumerate(pairs)
        if _is_final(turn) and not isinstance(after, ToolCall)
    ]
    kept = [t for at, t in enumerate(prompt.turns) if at > max(finals, default=-1) or not _cot(t)]
    return _SYSTEM_MESSAGE + count(replace(prompt, turns=tuple(kept)), how)


def _is_final(turn: object) -> bool:
    return isinstance(turn, Message) and turn.role == "assistant"


def _cot(turn: object) -> bool:
    return isinstance(turn, Reasoning)


@pytest.mark.parametrize(
    ("how", "api"),
    [
        *((how, "chat") for how in (*RENDERINGS[::97], Rendering(comment_once=True))),
        *((how, "responses") for how in RENDERINGS[::331]),
    ],
    ids=str,
)
def test_every_healthy_rendering_passes(how: Rendering, api: Api) -> None:
    results = judged(lambda prompt: healthy(prompt, how), api, ollama=how.quoted_results)
    other = {name for name, each in results.items() if each.status != "passed"}
    assert other - {"prompt.bare"} == ({"prompt.tool.order"} if how.instructions_last else set())


def test_instructions_are_a_parameter_of_responses_only() -> None:
    sent = {each.id: each for each in GROUP.requests("responses") if each.instructions}
    assert set(sent) == {"instructions", "instructions and system", "instructions and developer"}
    for name, request in sent.items():
        first, *others = PROMPTS[name].turns
        assert isinstance(first, Message)
        assert (request.instructions, list(request.turns)) == (first.text, others)
    assert not any(each.instructions for each in GROUP.requests("chat"))


_EXACT = {f"prompt.exact.{part}" for part in ("user", "system", "answer", "result")}


_MISTAKES = (
    *(What.LOWER, What.BLANK_LINES, What.INDENTATION, What.SINGLE_SPACES, What.NFKC, What.NFD),
    *(What.TYPOGRAPHY, What.HTML, What.HTML_DECODED, What.JSON_QUOTED, What.PYTHON_ASCII),
    *(What.QUESTION_MARKS, What.ASCII_ONLY),
)  # those that change an exact text of every kind


def without(unwanted: Callable[[object], bool]) -> Count:
    return changed(lambda turns: [turn for turn in turns if not unwanted(turn)])


def changed(change: Callable[[Sequence[Any]], Iterable[Any]]) -> Count:
    """A server that changes the turns of each prompt."""
    return lambda prompt: healthy(replace(prompt, turns=tuple(change(prompt.turns))))


def texts(change: Callable[[str], str]) -> Count:
    return lambda prompt: healthy(with_texts(prompt, change))


def instead(**others: str) -> Count:
    """A server that gives some requests the prompts of others."""
    named = {name.replace("_", " "): PROMPTS[other] for name, other in others.items()}
    prompts = {id(PROMPTS[name]): other for name, other in named.items()}
    return lambda prompt: healthy(prompts.get(id(prompt), prompt))


def more(**tokens: int) -> Count:
    """A server that counts more tokens in some prompts."""
    added = {id(PROMPTS[name.replace("_", " ")]): count for name, count in tokens.items()}
    return lambda prompt: healthy(prompt) + added.get(id(prompt), 0)


def _without_first(*names: str) -> Count:
    known = [PROMPTS[name] for name in names]
    return lambda prompt: healthy(
        replace(prompt, turns=prompt.turns[any(prompt is each for each in known) :])
    )


def _before_text(prompt: Prompt) -> int:
    """A server that treats every text of the assistant as a final answer."""
    last = max((at for at, turn in enumerate(prompt.turns) if _is_final(turn)), default=-1)
    kept = (turn for at, turn in enumerate(prompt.turns) if at > last or not _cot(turn))
    return healthy(replace(prompt, turns=tuple(kept)))


def _of_developers(prompt: Prompt) -> list[str]:
    """The instructions of a prompt."""
    said = [t for t in prompt.turns if isinstance(t, Message) and instructs(t)]
    return ["".join(turn.text) for turn in said]


def _second_system_message(prompt: Prompt) -> int:
    """gpt_oss.responses_api 0.0.9, a message with role system."""
    added = sum(4 + len(text_tokens(text)) for text in _of_developers(prompt))
    return without(instructs)(prompt) + added


def _second_developer_message(prompt: Prompt) -> int:
    """mlx-gpt-oss 1.0.3: tools in one developer message, role developer in another."""
    said = [t for t in prompt.turns if isinstance(t, Message) and t.role == "developer"]
    if not prompt.tools or not said:
        return healthy(prompt)
    headed = (f"# Instructions\n\n{turn.text}" for turn in said)
    return without(instructs)(prompt) + sum(4 + len(text_tokens(text)) for text in headed)


def _developer_message_twice(prompt: Prompt) -> int:
    of_system = 14  # tokens by which tools lengthen the system message
    bare = without(instructs)(replace(prompt, tools=()))
    return 2 * healthy(prompt) - bare - of_system * bool(prompt.tools)


def _lost_channels(kind: type) -> Count:
    """smg 1.13."""

    def lost(prompt: Prompt) -> int:
        those = [t for t in prompt.turns if isinstance(t, kind)]
        said = [t for t in those if not isinstance(t, Message) or t.role == "assistant"]
        return healthy(prompt, Rendering(call_type="")) - 2 * len(said)

    return lost


def _without_title(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without the parameter that has the name of a keyword."""
    properties = schema.get("properties", {})
    return schema | {"properties": {n: each for n, each in properties.items() if n != "title"}}


def _cut_at_tag(turn: Any) -> Any:
    tagged = isinstance(turn, Message) and turn.role == "assistant" and "<|end|>" in turn.text
    return replace(turn, text=turn.text.partition("<|end|>")[0]) if tagged else turn


_OWN = "You are Tidal, an assistant of the harbour office. Answer briefly and politely."
_HIDDEN = Tool("retrieve", "Return the whole text.", {"type": "object", "properties": {}})


def _with_own_instructions(separator: str, *, lost: bool = False) -> Count:
    """A provider that puts its own instructions before those of the client, or instead of them."""

    def tokens(prompt: Prompt) -> int:
        said = [] if lost else [str(turn.text) for turn in prompt.turns if instructs(turn)]
        others = tuple(turn for turn in prompt.turns if not instructs(turn))
        first = Message("system", separator.join([_OWN, *said]))
        return healthy(replace(prompt, turns=(first, *others))) - _SYSTEM_MESSAGE

    return tokens


def bare(added: int, beside: Callable[[Prompt], bool] = lambda _: True) -> Count:
    """A server whose system message is this much longer, at least in some prompts."""
    return lambda prompt: healthy(prompt) - _SYSTEM_MESSAGE + added * beside(prompt)


def _later_systems(prompt: Prompt) -> int:
    system = [t for t in prompt.turns if isinstance(t, Message) and t.role == "system"]
    return healthy(replace(prompt, turns=tuple(t for t in prompt.turns if t not in system[1:])))


def _untyped(tool: Tool) -> dict[str, object]:
    return {name: {} for name in tool.parameters["properties"]}


def _flat(prompt: Prompt) -> int:
    """Tools whose nested parameters are rendered as `any`."""
    tools = tuple(
        replace(tool, parameters={**tool.parameters} | {"properties": _untyped(tool)})
        for tool in prompt.tools
    )
    return healthy(replace(prompt, tools=tools))


def _first_part(prompt: Prompt) -> int:
    turns = tuple(
        replace(turn, text=turn.text[0])
        if isinstance(turn, Message) and isinstance(turn.text, tuple)
        else turn
        for turn in prompt.turns
    )
    return healthy(replace(prompt, turns=turns))


def _results_of_the_last_call(prompt: Prompt) -> int:
    calls = [turn for turn in prompt.turns if isinstance(turn, ToolCall)]
    turns = tuple(
        replace(turn, call_id=calls[-1].id) if isinstance(turn, ToolResult) else turn
        for turn in prompt.turns
    )
    return healthy(replace(prompt, turns=turns))


def _no_equal_results(prompt: Prompt) -> int:
    texts = [turn.text if isinstance(turn, ToolResult) else None for turn in prompt.turns]
    kept = [
        turn
        for at, (turn, text) in enumerate(zip(prompt.turns, texts, strict=True))
        if text is None or text not in texts[:at]
    ]
    return healthy(replace(prompt, turns=tuple(kept)))


def _no_parts_of_results(prompt: Prompt) -> int:
    turns = tuple(
        replace(turn, text="")
        if isinstance(turn, ToolResult) and isinstance(turn.text, tuple)
        else turn
        for turn in prompt.turns
    )
    return healthy(replace(prompt, turns=turns))


def _no_preamble(prompt: Prompt) -> int:
    """The prompt without preambles."""
    pairs = zip(prompt.turns, (*prompt.turns[1:], None), strict=True)
    kept = [turn for turn, after in pairs if not (_is_final(turn) and isinstance(after, ToolCall))]
    return healthy(replace(prompt, turns=tuple(kept)))


def _schemas(change: Callable[[dict[str, object]], dict[str, object]]) -> Count:
    return lambda prompt: healthy(
        replace(
            prompt,
            tools=tuple(replace(t, parameters=change(dict(t.parameters))) for t in prompt.tools),
        )
    )


def _ordered(schema: dict[str, object]) -> dict[str, object]:
    properties = schema["properties"]
    assert isinstance(properties, dict)
    return schema | {"properties": dict(sorted(properties.items()))}


def _quotes(marks: str, others: str) -> Count:
    changed = str.maketrans(marks, others)
    return lambda prompt: healthy(with_texts(prompt, lambda text: text.translate(changed)))


def _with_stale_cot(prompt: Prompt) -> int:
    """The tokens of a prompt with the library's own rule for stale CoT."""
    tokens = rendering.tokens(prompt)[:-2]
    messages = harmony_encoding().parse_messages_from_completion_tokens(tokens, strict=True)
    conversation = oh.Conversation.from_messages(messages)
    return _SYSTEM_MESSAGE + len(
        harmony_encoding().render_conversation_for_completion(conversation, oh.Role.ASSISTANT)
    )


def _of_user(turn: Any) -> Any:
    return Message("user", turn.text) if isinstance(turn, Reasoning) else turn


def _as_json(turn: Any) -> Any:
    parted = isinstance(turn, ToolResult) and isinstance(turn.text, tuple)
    listed = [{"type": "text", "text": part} for part in turn.text] if parted else []
    return replace(turn, text=json.dumps(listed)) if parted else turn


_TWICE = lambda turns: (*filter(instructs, turns), *turns)  # noqa: E731
_SYSTEM = (
    "prompt.system prompt.developer prompt.parts.system prompt.exact.system prompt.long.system"
)
_STALE = "prompt.cot.dropped prompt.cot.dropped.no_tools prompt.cot.dropped.second"
FOUND: Mapping[str, tuple[Any, ...]] = {
    "CoT is dropped before a preamble": (
        _before_text,
        "prompt.cot.kept",
        "as if CoT is missing",
    ),
    "blanks of long texts are lost": (
        texts(lambda text: re.sub(r"(\s)\s+", r"\1", text) if len(text) > 600 else text),
        "prompt.long prompt.result.long",
        "",
    ),
    "texts are stripped": (
        texts(str.strip),
        "prompt.exact.user.ends prompt.exact.system.ends prompt.exact.result.ends",
        "removed white space at the ends",
    ),
    # llama.cpp b11549, Responses API, and its words
    "a preamble is lost beside CoT": (
        instead(thought_and_preamble="thought"),
        "prompt.cot.kept",
        "",
    ),
    "words end at combining marks": (
        more(scripts=5, combining=1),
        "prompt.scripts prompt.exact.user.combining",
        "words are split at combining marks",
    ),
    "a second system message": (
        _second_system_message,
        "prompt.system prompt.developer prompt.exact.system.ends",
        "instructions are system messages",
    ),
    "a second developer message": (_second_developer_message, "prompt.tool.with_developer", ""),
    "texts are changed where plain ones arrive": (
        instead(long_thought="called", exact_thought="called"),
        "prompt.exact.cot prompt.long.cot",
        "",
    ),
    "no parts": (more(parts=4), "prompt.parts", ""),
    "instructions are twice": (changed(_TWICE), _SYSTEM, "instructions appear twice"),
    "the developer message is twice": (
        _developer_message_twice,
        f"{_SYSTEM} prompt.tool prompt.exact prompt.long",
        "the developer message appears twice",
    ),
    "no channel of results": (
        _lost_channels(ToolResult),
        "prompt.call prompt.results",
        "tool results have no channel",
    ),
    "no channel of answers": (
        _lost_channels(Message),
        "prompt.history prompt.long.history",
        "earlier answers have no channel",
    ),
    "parts as JSON": (
        changed(lambda turns: map(_as_json, turns)),
        "prompt.result.parts",
        "the parts of a tool result are JSON text",
    ),
    "CoT as a message": (
        changed(lambda turns: map(_of_user, turns)),
        "prompt.cot",
        "CoT is a message of the user",
    ),
    "the published template": (
        _with_published_tools,
        "prompt.tool prompt.exact.schema prompt.cot.dropped",
        "nested fields are written as in OpenAI's chat template",
    ),
    "a parameter named title": (_schemas(_without_title), "prompt.tool.schema.keywords", ""),
    "long texts are cut": (texts(lambda text: text[:16_000]), "prompt.long prompt.result.long", ""),
    # The kinds of input that a server loses
    "double quotes": (_quotes('"', "'"), "prompt.exact.user.quotes", ""),
    "single quotes": (_quotes("'", '"'), "prompt.exact", ""),
    "apostrophes": (_quotes("'", "’"), "prompt.exact", ""),
    "the calls of results": (_results_of_the_last_call, "prompt.results.names", ""),
    "equal results": (_no_equal_results, "prompt.results.equal prompt.results.five", ""),
    "parts of results": (_no_parts_of_results, "prompt.result.parts", ""),
    "preambles": (_no_preamble, "prompt.preamble", ""),
    "the order of fields": (_schemas(_ordered), "prompt.tool.schema.order", ""),
    "required": (
        _schemas(lambda schema: schema | {"required": []}),
        "prompt.tool.schema.optional",
        "",
    ),
    "nothing, also stale CoT": (
        lambda prompt: _SYSTEM_MESSAGE + count(prompt, _LIBRARY),
        f"{_STALE} prompt.cot.dropped.in_loop",
        "as if earlier CoT is kept, or becomes an answer of the assistant",
    ),
    "stale CoT by openai-harmony": (  # vLLM PR#45048
        _with_stale_cot,
        "prompt.cot.dropped.second prompt.cot.dropped.in_loop",
        "as if earlier CoT is kept, or becomes an answer of the assistant",
    ),
    "later system messages": (_later_systems, "prompt.system.second", ""),
    "later parts": (_first_part, "prompt.parts prompt.parts.system", ""),
    "ends of prompts": (
        lambda prompt: min(healthy(prompt), _SYSTEM_MESSAGE + 500),
        "prompt.long prompt.result.long",
        "",
    ),
    "ends of long prompts": (lambda prompt: min(healthy(prompt), 1500), "", ""),
    "later tools": (
        lambda prompt: healthy(replace(prompt, tools=prompt.tools[:1])),
        "prompt.tool.several",
        "",
    ),
    "nested fields": (_flat, "prompt.tool prompt.exact.schema prompt.long.tools", ""),
    "developer messages": (
        without(lambda turn: isinstance(turn, Message) and turn.role == "developer"),
        "prompt.developer",
        "",
    ),
    "results": (
        without(lambda turn: isinstance(turn, ToolResult)),
        "prompt.call prompt.results prompt.result",
        "",
    ),
    "text behind a tag": (
        changed(lambda turns: map(_cut_at_tag, turns)),
        "prompt.special.answer",
        "",
    ),
    # What a provider adds
    **{
        f"own instructions and {separator!r}": (
            _with_own_instructions(separator),
            "",
            "joins the client's instructions",
            {"prompt.system": "joined_instructions"},
        )
        for separator in ("\n\n", "\n")
    },
    **{
        f"{added} tokens without instructions": (
            bare(added, lambda prompt: not any(map(instructs, prompt.turns))),
            "",
            "",
            {"prompt.system": "text_added_to_some"},
        )
        for added in (113, 27)
    },
    "text beside tools": (  # Rapid-mlx 0.16 adds 145 tokens to tools without instructions.
        lambda prompt: (
            healthy(prompt) + 145 * (bool(prompt.tools) and not any(map(instructs, prompt.turns)))
        ),
        "prompt.tool",
        "",
        {"prompt.tool.with_system": "text_added_to_some"},
    ),
    "a tool": (  # Headroom adds one, so that every prompt has a developer message and tools.
        lambda prompt: healthy(replace(prompt, tools=(*prompt.tools, _HIDDEN))),
        "",
        "",
        dict.fromkeys(("prompt.developer", "prompt.tool"), "headings_added"),
    ),
    "its tool instead of tools": (
        lambda prompt: healthy(replace(prompt, tools=(_HIDDEN,))),
        "prompt.tool",
        "",
    ),
    "own instructions instead": (
        _with_own_instructions("\n\n", lost=True),
        "prompt.system prompt.developer",
        "",
    ),
    # What cannot be told from another finding
    "no CoT at all": (
        without(_cot),
        "prompt.cot.kept",
        "as if CoT is missing",
        dict.fromkeys(("prompt.exact.cot", "prompt.long.cot"), "fails_like_plain"),
    ),
}
"""Servers by what they lose: prompt tokens, rules or beginnings of rules that accuse it, words of a
finding, and why other rules do not."""


def accused(results: Mapping[str, RuleResult]) -> set[str]:
    """The failed and warned rules but that of the system message, which is always longer."""
    bad = {name for name, each in results.items() if each.status in ("failed", "warned")}
    return bad - {"prompt.bare"}


def under(rule: str, name: str) -> bool:
    return f"{rule}.".startswith(f"{name}.")


@pytest.mark.parametrize("lost", FOUND)
def test_lost_input_is_found(lost: str) -> None:
    tokens, rules, words, *silent = FOUND[lost]
    results = judged(tokens)
    found, names = accused(results), rules.split()
    assert {rule for rule in found if not any(under(rule, name) for name in names)} == set()
    assert [name for name in names if not any(under(rule, name) for rule in found)] == []
    examples = [example for each in results.values() for example in each.examples]
    assert any(words in f"{each.message} {each.evidence.got}" for each in examples)
    for name, code in (silent[0] if silent else {}).items():
        assert {each.code for each in results[name].reasons} == {code}


@pytest.mark.parametrize("mistake", _MISTAKES)
def test_changed_texts_are_detected_and_named(mistake: What) -> None:
    results = judged(texts(CHANGES[mistake]))
    assert {results[name].status for name in _EXACT} == {"failed"}
    assert any(mistake.words in results[name].examples[0].evidence.got for name in _EXACT)


@pytest.mark.parametrize(
    "names", [("instructions",), ("instructions and system", "instructions and developer")]
)
def test_lost_instructions_of_responses_are_detected(names: tuple[str, ...]) -> None:
    results = judged(_without_first(*names), "responses")
    found = accused(results)
    assert found == {f"prompt.{n.replace('s and ', 's.with_')}" for n in names}
    assert {results[name].examples[0].evidence.got.partition("as if ")[2] for name in found} == {
        "instructions are missing"
    }


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (lambda prompt: len(harmony_encoding().decode(rendering.tokens(prompt))) // 4, "estimated"),
        *(
            (lambda prompt, scale=scale: round(healthy(prompt) * scale), f"{scale:.2f} tokens")
            for scale in (0.75, 1.3, 4.2)
        ),
    ],
)
def test_counts_in_proportion_to_prompts_are_one_finding(tokens: Count, words: str) -> None:
    results = judged(tokens)
    (example,) = results["prompt.scale"].examples
    assert words in f"{example.message} {example.evidence.got}"
    assert accused(
        {each.check.id: each for each in related(results.values(), [], Thresholds())}
    ) == {"prompt.scale"}


def test_without_counts_the_probes_are_not_verifiable() -> None:
    for counted in (None, 0):
        found = judged(lambda _, counted=counted: counted)
        assert {each.status for each in found.values()} == {"not_verifiable"}


def test_a_mistake_that_fits_one_prompt_is_not_named() -> None:
    (example,) = judged(more(parts=4))["prompt.parts"].examples  # gpt_oss.responses_api 0.0.9
    assert "as if" not in example.evidence.got


def test_a_refused_tag_in_an_earlier_answer_is_no_lost_text() -> None:
    refused = judged(healthy, refused="special answer")["prompt.special.answer"]
    assert (refused.status, "400" in (refused.reason or "")) == ("not_verifiable", True)


def test_a_finding_shows_both_counts() -> None:
    example = judged(without(_cot))["prompt.cot.kept"].examples[0]
    assert example.evidence.record == "thought/chat/non-streaming/1"
    assert example.evidence.expected.startswith("27 more: '<|channel|>analysis<|message|>")


def test_instructions_after_the_messages_have_the_same_number_of_tokens() -> None:
    for name, alone in [
        ("instructions and system", "system"),
        ("instructions and developer", "developer"),
    ]:
        longer, shorter = PROMPTS[name], PROMPTS[alone]
        instructions, message, *others = longer.turns
        swapped = replace(longer, turns=(message, instructions, *others))
        for how in {Rendering(*astuple(how)[:4]) for how in RENDERINGS}:
            assert count(swapped, how) - count(shorter, how) in differences(longer, shorter)


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"\r\n", "\n"),
        (r"\r?\n", "\r\n"),
        (r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", ""),
        (r"<!--.*?-->", ""),
        (r"```", ""),
        (r"--", "—"),
        (r"…", "..."),
        (r"'", '"'),
        (r"\+", " "),
        (r"%20", " "),
        (r"%%", "%"),
        (r"(?<=\d),(?=\d)", ""),
        (r"\bnull\b", "None"),
        (r"\u00a0", " "),
        (r"[\u200b-\u200f]", ""),
        (r"[\U00010000-\U0010ffff]", ""),
        (r"[\u3000-\u9fff\uac00-\ud7af]", ""),
        (r"\\n", "\n"),
    ],
)
def test_every_changed_mark_changes_the_number_of_tokens(pattern: str, instead: str) -> None:
    (turn,) = PROMPTS["marks user"].turns
    assert isinstance(turn, Message)
    assert isinstance(turn.text, str)
    changed = re.sub(pattern, lambda _: instead, turn.text)
    assert len(text_tokens(changed)) != len(text_tokens(turn.text))


@pytest.mark.parametrize("arguments", ["as sent", "spaced", "compact"])
def test_whole_numbers_as_decimals_change_the_number_of_tokens(arguments: Arguments) -> None:
    how = Rendering(arguments=arguments)
    exact, called = PROMPTS["exact arguments"], PROMPTS["called"]
    decimals = tuple(
        replace(turn, arguments=turn.arguments.replace("[7, 12]", "[7.0, 12.0]"))
        if isinstance(turn, ToolCall)
        else turn
        for turn in exact.turns
    )
    got = count(replace(exact, turns=decimals), how) - count(called, how)
    assert got not in differences(exact, called)


def test_lengths_that_are_not_consecutive_are_listed() -> None:
    one_more = PROMPTS["both called"], PROMPTS["both asked"]
    results = judged(lambda prompt: healthy(prompt) + (prompt is one_more[0]))
    (example,) = results["prompt.results.names"].examples
    *others, last = sorted(differences(*one_more, quoted_results=False))
    listed = ", ".join(map(str, others))
    assert example.message.startswith(
        f"Request 'both called' should have {listed} or {last} more prompt tokens"
    )


@pytest.mark.parametrize("quoted", ["unicode", "ascii", "html"])
def test_tool_results_as_json_strings_are_a_warning_and_a_note_at_ollama(quoted: Quoted) -> None:
    def found(*, ollama: bool) -> set[tuple[str, str | None]]:
        how = Rendering(quoted_results=quoted)
        results = judged(lambda prompt: healthy(prompt, how), ollama=ollama)
        assert not {name for name, each in results.items() if each.status == "failed"}
        examples = [each.examples[0] for each in results.values() if each.examples]
        return {(each.severity, each.message.partition(",")[0]) for each in examples}

    told = "Tool results are written as JSON strings"
    assert ("warning", told) in found(ollama=False)
    assert ("info", told) in found(ollama=True)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        (-2, "warned"),
        (-1, "passed"),
        (1, "passed"),
        (2, "passed"),
        (3, "warned"),
        (9, "warned"),
        (11, "passed"),
    ],
)
def test_a_minimal_prompt_of_another_length_is_a_warning(more: int, status: str) -> None:
    """A system message without `commentary` among its channels has two tokens fewer."""
    found = judged(lambda prompt: healthy(prompt) - _SYSTEM_MESSAGE + more)["prompt.bare"]
    assert found.status == status
    if status != "passed":
        assert found.examples[0].evidence.expected == "59 tokens or 70 tokens"


def test_prompts_are_compared_without_streaming() -> None:
    """9router adds 2,000 tokens to the counts of all replies but Chat streams."""
    rollouts = {}
    for name in ("base", "tool"):
        for streaming in (True, False):
            whole = chat_whole(Reply(text="Hello."))
            whole["usage"]["prompt_tokens"] = healthy(PROMPTS[name]) + 2000 * (not streaming)
            made = rollout(
                [exchange("chat", streaming, json_response(whole))], streaming=streaming,
                sample=name, task=GROUP.name,
            )  # fmt: skip
            rollouts.setdefault(name, []).append(parse_rollout(made))
    results = probe_results(PROBES, rollouts, ProbeOptions("m", ("chat",)))
    status = {each.check.id: each.status for each in results if "chat" in each.check.apis}
    assert (status["prompt.bare"], status["prompt.tool"]) == ("failed", "passed")


def test_a_reply_to_another_request_says_nothing_about_a_prompt() -> None:
    """Headroom's cache ignores the order of a schema; a server may also give all replies one id."""
    rule, requests = "prompt.tool.schema.order", ("with order", "without order")
    assert judged(healthy)[rule].status == "passed"

    def unordered(prompt: Prompt) -> int:
        return healthy(PROMPTS["with order"] if prompt == PROMPTS["without order"] else prompt)

    assert judged(unordered)[rule].status == "failed"
    cached = judged(unordered, ids=lambda name: requests[0] if name in requests else name)[rule]
    assert (cached.status, cached.reasons[0].code) == ("not_verifiable", "same_reply")
