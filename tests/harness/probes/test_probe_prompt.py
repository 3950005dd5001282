"""Prompt probes with token counts of rendered prompts."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import astuple, replace
from functools import partial
from itertools import product, starmap

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
        *((how, "chat") for how in RENDERINGS[::151]),
        *((how, "responses") for how in RENDERINGS[::331]),
    ],
    ids=str,
)
def test_every_healthy_rendering_passes(how: Rendering, api: Api) -> None:
    results = judged(lambda prompt: healthy(prompt, how), api, ollama=how.quoted_results)
    other = {name for name, each in results.items() if each.status != "passed"}
    other -= {"prompt.bare"}  # The system message is longer than harmony's.
    assert other == ({"prompt.tool.order"} if how.instructions_last else set())


def test_instructions_are_a_parameter_of_responses_only() -> None:
    sent = {each.id: each for each in GROUP.requests("responses") if each.instructions}
    assert set(sent) == {"instructions", "instructions and system", "instructions and developer"}
    for name, request in sent.items():
        first, *others = PROMPTS[name].turns
        assert isinstance(first, Message)
        assert (request.instructions, list(request.turns)) == (first.text, others)
    assert not any(each.instructions for each in GROUP.requests("chat"))


def _without_first(*names: str) -> Count:
    changed = [PROMPTS[name] for name in names]
    return lambda prompt: healthy(
        replace(prompt, turns=prompt.turns[1:])
        if any(prompt is each for each in changed)
        else prompt
    )


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (_without_first("instructions"), {"prompt.instructions"}),
        (
            _without_first("instructions and system", "instructions and developer"),
            {"prompt.instructions.with_system", "prompt.instructions.with_developer"},
        ),
    ],
)
def test_lost_instructions_of_responses_are_detected(tokens: Count, found: set[str]) -> None:
    results = judged(tokens, "responses")
    assert {name for name, each in results.items() if each.failures} - {"prompt.bare"} == found
    for name in found:
        assert results[name].examples[0].evidence.got.endswith("as if instructions are missing")


def test_instructions_after_the_messages_have_the_same_number_of_tokens() -> None:
    for name, alone in [
        ("instructions and system", "system"),
        ("instructions and developer", "developer"),
    ]:
        longer, shorter = PROMPTS[name], PROMPTS[alone]
        instructions, message, *others = longer.turns
        swapped = replace(longer, turns=(message, instructions, *others))
        for how in {Rendering(*astuple(how)[:4]) for how in RENDERINGS}:
            got = count(swapped, how) - count(shorter, how)
            assert got in differences(longer, shorter)


_LONG = {
    "prompt.long", "prompt.long.system", "prompt.long.description", "prompt.long.cot",
    "prompt.result.long",
}  # fmt: skip
_EXACT = {f"prompt.exact.{part}" for part in ("user", "system", "answer", "result")}


_MISTAKES = (
    *(What.LOWER, What.BLANK_LINES, What.INDENTATION, What.SINGLE_SPACES, What.NFKC, What.NFD),
    *(What.TYPOGRAPHY, What.HTML, What.HTML_DECODED, What.JSON_QUOTED, What.PYTHON_ASCII),
    *(What.QUESTION_MARKS, What.ASCII_ONLY),
)  # those that change an exact text of every kind


@pytest.mark.parametrize("mistake", _MISTAKES)
def test_changed_texts_are_detected_and_named(mistake: What) -> None:
    results = judged(lambda prompt: healthy(with_texts(prompt, CHANGES[mistake])))
    assert {results[name].status for name in _EXACT} == {"failed"}
    assert any(mistake.words in results[name].examples[0].evidence.got for name in _EXACT)


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


def test_cot_next_to_a_preamble_is_judged_separately() -> None:
    def before_text(prompt: Prompt) -> int:
        """A server that treats every text of the assistant as a final answer."""
        texts = [at for at, turn in enumerate(prompt.turns) if _is_final(turn)]
        last = max(texts, default=-1)
        return healthy(
            replace(
                prompt,
                turns=tuple(t for at, t in enumerate(prompt.turns) if at > last or not _cot(t)),
            )
        )

    results = judged(before_text)
    assert results["prompt.cot.kept"].failures == 1
    (example,) = results["prompt.cot.kept"].examples
    assert "'thought and preamble'" in example.message
    assert example.evidence.expected.startswith("27 more: '<|channel|>analysis<|message|>The user")
    assert "as if CoT is missing" in example.evidence.got


def test_runs_of_blanks_that_only_long_texts_lose_are_found() -> None:
    def collapsed(text: str) -> str:
        return re.sub(r"(\s)\s+", r"\1", text) if len(text) > 600 else text

    results = judged(lambda prompt: healthy(with_texts(prompt, collapsed)))
    failed = {name for name, each in results.items() if each.failures}
    assert {"prompt.long", "prompt.long.system", "prompt.result.long"} <= failed


def test_white_space_that_is_missing_around_texts_is_named() -> None:
    results = judged(lambda prompt: healthy(with_texts(prompt, str.strip)))
    changed = {name: each for name, each in results.items() if name != "prompt.bare"}
    changed = {name: each for name, each in changed.items() if each.failures}
    assert set(changed) == {f"prompt.exact.{part}.ends" for part in ("user", "system", "result")}
    for each in changed.values():
        assert "removed white space at the ends" in each.examples[0].evidence.got


def test_a_preamble_next_to_cot_is_judged_separately() -> None:
    def without_preamble(prompt: Prompt) -> int:
        """llama.cpp b11549, Responses API."""
        both = prompt is PROMPTS["thought and preamble"]
        return healthy(PROMPTS["thought"] if both else prompt)

    results = judged(without_preamble)
    failed = {name: each for name, each in results.items() if each.status == "failed"}
    assert list(failed) == ["prompt.cot.kept"]


def test_words_that_are_split_at_combining_marks_are_named() -> None:
    measured = {"scripts": 5, "combining": 1}  # more tokens from llama.cpp b11549
    more = {id(PROMPTS[name]): tokens for name, tokens in measured.items()}
    results = judged(lambda prompt: healthy(prompt) + more.get(id(prompt), 0))
    failed = {name: each for name, each in results.items() if each.status == "failed"}
    assert set(failed) == {"prompt.scripts", "prompt.exact.user.combining"}
    for each in failed.values():
        assert "as if words are split at combining marks" in each.examples[0].evidence.got


def test_instructions_in_a_system_message_are_named_and_no_order_is_reported() -> None:
    def second_system_message(prompt: Prompt) -> int:
        """gpt_oss.responses_api 0.0.9, a message with role system."""
        rest = replace(prompt, turns=tuple(t for t in prompt.turns if not instructs(t)))
        texts = [t.text for t in prompt.turns if isinstance(t, Message) and instructs(t)]
        return healthy(rest) + sum(4 + len(text_tokens("".join(text))) for text in texts)

    results = judged(second_system_message)
    (example,) = results["prompt.system"].examples
    assert "as if instructions are system messages" in example.evidence.got
    assert results["prompt.tool.order"].status == "not_verifiable"


@pytest.mark.parametrize(
    ("kind", "plain", "inherit"),
    [
        (Reasoning, "prompt.cot.kept", {"prompt.exact.cot", "prompt.long.cot"}),
        (ToolResult, "prompt.call", {"prompt.exact.result", "prompt.result.long"}),
    ],
)
def test_a_text_that_does_not_arrive_at_all_is_not_called_changed(kind, plain, inherit) -> None:
    def without(prompt: Prompt) -> int:
        turns = tuple(turn for turn in prompt.turns if not isinstance(turn, kind))
        return healthy(replace(prompt, turns=turns))

    results = judged(without)
    assert results[plain].status == "failed"
    for name in inherit:
        assert results[name].status == "not_verifiable", name
        assert {reason.values["rule"] for reason in results[name].reasons} == {plain}


def test_estimated_counts_are_no_defects_of_prompts() -> None:
    def characters(prompt: Prompt) -> int:
        return len(harmony_encoding().decode(rendering.tokens(prompt))) // 4

    results = judged(characters)
    assert results["prompt.scale"].status == "failed"
    assert "estimated" in results["prompt.scale"].examples[0].message
    left = related(results.values(), [], Thresholds())
    assert [each.check.id for each in left if each.status in ("failed", "warned")] == [
        "prompt.scale"
    ]


def test_a_text_that_is_changed_where_plain_ones_arrive_is_judged() -> None:
    long = {id(PROMPTS["long thought"]), id(PROMPTS["exact thought"])}
    called = healthy(PROMPTS["called"])
    results = judged(lambda prompt: called if id(prompt) in long else healthy(prompt))
    failed = {name for name, each in results.items() if each.status == "failed"}
    assert failed == {"prompt.exact.cot", "prompt.long.cot"}


def test_a_developer_message_of_its_own_beside_tools_is_detected() -> None:
    def second_developer_message(prompt: Prompt) -> int:
        """mlx-gpt-oss 1.0.3: tools in one developer message, role developer in another."""
        texts = [
            str(turn.text)
            for turn in prompt.turns
            if isinstance(turn, Message) and turn.role == "developer"
        ]
        if not prompt.tools or not texts:
            return healthy(prompt)
        others = tuple(turn for turn in prompt.turns if not instructs(turn))
        more = sum(4 + len(text_tokens(f"# Instructions\n\n{text}")) for text in texts)
        return healthy(replace(prompt, turns=others)) + more

    results = judged(second_developer_message)
    failed = {name for name, each in results.items() if each.status == "failed"}
    assert failed == {"prompt.tool.with_developer"}


def test_a_mistake_that_fits_one_prompt_is_not_named() -> None:
    def split(prompt: Prompt) -> int:
        """gpt_oss.responses_api 0.0.9."""
        return healthy(prompt) + 4 * (prompt is PROMPTS["parts"])

    (example,) = judged(split)["prompt.parts"].examples
    assert "as if" not in example.evidence.got


def test_instructions_that_are_there_twice_are_named() -> None:
    def doubled(prompt: Prompt) -> int:
        return healthy(replace(prompt, turns=(*filter(instructs, prompt.turns), *prompt.turns)))

    for name in ("prompt.system", "prompt.exact.system"):
        (example,) = judged(doubled)[name].examples
        assert "as if instructions appear twice" in example.evidence.got


def test_a_developer_message_that_is_there_twice_is_named() -> None:
    of_system = 14  # tokens by which tools lengthen the system message

    def doubled(prompt: Prompt) -> int:
        others = tuple(turn for turn in prompt.turns if not instructs(turn))
        bare = healthy(replace(prompt, turns=others, tools=()))
        return 2 * healthy(prompt) - bare - of_system * bool(prompt.tools)

    results = judged(doubled)
    for name in ("prompt.tool", "prompt.system", "prompt.exact.description"):
        (example,) = results[name].examples
        assert "the developer message appears twice" in example.evidence.got


@pytest.mark.parametrize("scale", [0.75, 1.3, 4.2])
def test_prompts_that_are_counted_in_proportion_are_one_finding(scale: float) -> None:
    results = judged(lambda prompt: round(healthy(prompt) * scale))
    assert results["prompt.scale"].status == "failed"
    assert f"{scale:.2f} tokens" in results["prompt.scale"].examples[0].evidence.got
    left = related(results.values(), [], Thresholds())
    assert [each.check.id for each in left if each.status in ("failed", "warned")] == [
        "prompt.scale"
    ]


@pytest.mark.parametrize("how", RENDERINGS[::37])
def test_healthy_renderings_count_in_tokens(how: Rendering) -> None:
    assert judged(partial(healthy, how=how))["prompt.scale"].status == "passed"


def test_prompts_that_are_cut_do_not_change_the_scale() -> None:
    assert judged(lambda prompt: min(healthy(prompt), 1500))["prompt.scale"].status == "passed"


@pytest.mark.parametrize(
    ("kind", "name", "probes"),
    [
        (ToolResult, "tool results", ("prompt.call", "prompt.results", "prompt.results.equal")),
        (Message, "earlier answers", ("prompt.history", "prompt.long.history")),
    ],
)
def test_lost_channels_are_named(kind: type, name: str, probes: tuple[str, ...]) -> None:
    def lost(prompt: Prompt) -> int:
        """smg 1.13."""
        answers = [t for t in prompt.turns if isinstance(t, kind)]
        return healthy(prompt, Rendering(call_type="")) - 2 * sum(
            not isinstance(turn, Message) or turn.role == "assistant" for turn in answers
        )

    results = judged(lost)
    for probe in probes:
        (example,) = results[probe].examples
        assert f"{name} have no channel" in example.evidence.got


def test_stale_cot_is_not_explained_by_mistakes_that_the_prompt_does_not_show() -> None:
    (example,) = judged(lambda prompt: _SYSTEM_MESSAGE + count(prompt, _LIBRARY))[
        "prompt.cot.dropped"
    ].examples
    assert example.evidence.got.endswith(
        "as if earlier CoT is kept, or becomes an answer of the assistant"
    )


_CHANGED_TURNS = {
    "prompt.result.parts": (
        "the parts of a tool result are JSON text",
        lambda turn: isinstance(turn, ToolResult) and isinstance(turn.text, tuple),
        lambda turn: replace(
            turn, text=json.dumps([{"type": "text", "text": part} for part in turn.text])
        ),
    ),
    "prompt.cot.kept": (
        "CoT is a message of the user",
        lambda turn: isinstance(turn, Reasoning),
        lambda turn: Message("user", turn.text),
    ),
}


@pytest.mark.parametrize("probe", _CHANGED_TURNS)
def test_a_difference_names_what_a_part_of_the_history_became(probe: str) -> None:
    what, has, change = _CHANGED_TURNS[probe]

    def changed(prompt: Prompt) -> int:
        turns = tuple(change(turn) if has(turn) else turn for turn in prompt.turns)
        return healthy(replace(prompt, turns=turns))

    example, *_ = judged(changed)[probe].examples
    assert example.evidence.got.endswith(f", as if {what}")


def test_lengths_that_are_not_consecutive_are_listed() -> None:
    one_more = PROMPTS["both called"], PROMPTS["both asked"]
    results = judged(lambda prompt: healthy(prompt) + (prompt is one_more[0]))
    (example,) = results["prompt.results.names"].examples
    *others, last = sorted(differences(*one_more, quoted_results=False))
    listed = ", ".join(map(str, others))
    assert example.message.startswith(
        f"Request 'both called' should have {listed} or {last} more prompt tokens"
    )


@pytest.mark.parametrize("quoted", ["unicode", "ascii"])
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


def test_a_description_that_is_a_comment_only_in_its_first_line_is_complete() -> None:
    once = Rendering(comment_once=True)
    results = judged(lambda prompt: healthy(prompt, once))
    assert {name for name, each in results.items() if each.status != "passed"} == {"prompt.bare"}
    described = PROMPTS["long description"]
    assert count(described, once) < count(described)


def test_nested_fields_as_in_openais_chat_template_are_named() -> None:
    results = judged(_with_published_tools)
    for rule in ("prompt.tool.schema", "prompt.exact.schema"):
        example = results[rule].examples[0]
        assert example.severity == "error"
        assert "nested fields are written as in OpenAI's chat template" in example.evidence.got


def test_a_lost_parameter_with_the_name_of_a_keyword_is_detected() -> None:
    def without_title(prompt: Prompt) -> int:
        schemas = [dict(tool.parameters) for tool in prompt.tools]
        for schema in schemas:
            properties = schema.get("properties", {})
            schema["properties"] = {n: each for n, each in properties.items() if n != "title"}
        pairs = zip(prompt.tools, schemas, strict=True)
        tools = tuple(replace(tool, parameters=schema) for tool, schema in pairs)
        return healthy(replace(prompt, tools=tools))

    failed = {name for name, each in judged(without_title).items() if each.status == "failed"}
    assert failed == {"prompt.tool.schema.keywords"}


def test_long_texts_that_are_cut_are_detected() -> None:
    def cut(prompt: Prompt) -> int:
        return healthy(with_texts(prompt, lambda text: text[:16_000]))

    failed = {name for name, each in judged(cut).items() if each.status == "failed"}
    assert failed == _LONG


def test_without_counts_the_probes_are_not_verifiable() -> None:
    for counted in (None, 0):
        found = judged(lambda _, counted=counted: counted)
        assert {each.status for each in found.values()} == {"not_verifiable"}


def without(unwanted: Callable[[object], bool]) -> Count:
    return lambda prompt: healthy(
        replace(prompt, turns=tuple(turn for turn in prompt.turns if not unwanted(turn)))
    )


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


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (_quotes('"', "'"), {"prompt.exact.user.quotes"}),
        (_quotes("'", '"'), {"prompt.exact.user.quotes"}),
        (_quotes("'", "’"), {"prompt.exact.user.quotes"}),
        (_results_of_the_last_call, {"prompt.results.names"}),
        (_no_equal_results, {"prompt.results.equal"}),
        (_no_parts_of_results, {"prompt.result.parts"}),
        (_no_preamble, {"prompt.preamble"}),
        (_schemas(_ordered), {"prompt.tool.schema.order"}),
        (_schemas(lambda schema: schema | {"required": []}), {"prompt.tool.schema.optional"}),
        (without(_cot), {"prompt.cot.kept"}),
        (
            lambda prompt: _SYSTEM_MESSAGE + count(prompt, _LIBRARY),
            {
                *("prompt.cot.dropped", "prompt.cot.dropped.no_tools"),
                *("prompt.cot.dropped.second", "prompt.cot.dropped.in_loop"),
            },
        ),
        (_later_systems, {"prompt.system.second"}),
        (_first_part, {"prompt.parts", "prompt.parts.system"}),
        (lambda prompt: min(healthy(prompt), _SYSTEM_MESSAGE + 500), {"prompt.long"}),
        (
            lambda prompt: healthy(replace(prompt, tools=prompt.tools[:1])),
            {"prompt.tool.several"},
        ),
        (_flat, {"prompt.tool.schema", "prompt.tool.several"}),
        (
            without(lambda turn: isinstance(turn, Message) and turn.role == "developer"),
            {"prompt.developer"},
        ),
        (
            without(lambda turn: isinstance(turn, ToolResult)),
            {"prompt.call", "prompt.results"},
        ),
    ],
)  # fmt: skip
def test_lost_input_is_detected(tokens: Count, found: set[str]) -> None:
    results = judged(tokens)
    assert found <= {name for name, each in results.items() if each.status in ("failed", "warned")}
    kept = {"prompt.history", "prompt.scripts", "prompt.special", "prompt.tool.with_system"}
    assert not {name for name in kept if results[name].status != "passed"}


def _with_stale_cot(prompt: Prompt) -> int:
    """The tokens of a prompt with the library's own rule for stale CoT."""
    tokens = rendering.tokens(prompt)[:-2]
    messages = harmony_encoding().parse_messages_from_completion_tokens(tokens, strict=True)
    conversation = oh.Conversation.from_messages(messages)
    rendered = harmony_encoding().render_conversation_for_completion(
        conversation, oh.Role.ASSISTANT
    )
    return _SYSTEM_MESSAGE + len(rendered)


def test_stale_cot_that_openai_harmony_keeps_by_default_is_detected() -> None:
    """vLLM PR#45048."""
    results = judged(_with_stale_cot)
    by_status = {
        status: {name for name, each in results.items() if each.status == status}
        for status in ("failed", "warned")
    }
    assert not by_status["failed"]
    assert by_status["warned"] >= {"prompt.cot.dropped.second", "prompt.cot.dropped.in_loop"}
    (example,) = results["prompt.cot.dropped.second"].examples
    assert example.evidence.got.endswith(
        ", as if earlier CoT is kept, or becomes an answer of the assistant"
    )


def test_tags_in_an_earlier_answer_must_be_accepted_as_text() -> None:
    """A server that parses them as harmony loses the text behind them, or refuses the request."""
    assert judged(healthy)["prompt.special.answer"].status == "passed"

    def cut(turn: object) -> object:
        tagged = isinstance(turn, Message) and turn.role == "assistant" and "<|end|>" in turn.text
        return replace(turn, text=turn.text.partition("<|end|>")[0]) if tagged else turn

    mangled = judged(lambda prompt: healthy(replace(prompt, turns=tuple(map(cut, prompt.turns)))))
    assert mangled["prompt.special.answer"].status == "warned"
    refused = judged(healthy, refused="special answer")["prompt.special.answer"]
    assert refused.status == "not_verifiable"
    assert "400" in (refused.reason or "")


@pytest.mark.parametrize(
    ("more", "status"),
    [(-2, "warned"), (-1, "passed"), (1, "passed"), (2, "passed"), (3, "warned"), (9, "warned")],
)
def test_a_minimal_prompt_of_another_length_is_a_warning(more: int, status: str) -> None:
    """A system message without `commentary` among its channels has two tokens fewer."""
    found = judged(lambda prompt: healthy(prompt) - _SYSTEM_MESSAGE + more)["prompt.bare"]
    assert found.status == status
    if status != "passed":
        assert found.examples[0].evidence.expected == "59 tokens or 70 tokens"


def test_a_prompt_with_a_date_is_healthy() -> None:
    dated = judged(lambda prompt: healthy(prompt) - _SYSTEM_MESSAGE + 11)["prompt.bare"]
    assert dated.failures == 0


def test_a_finding_shows_both_counts() -> None:
    example = judged(without(_cot))["prompt.cot.kept"].examples[0]
    assert example.evidence.record == "thought/chat/non-streaming/1"
    assert example.evidence.expected.startswith("27 more: '<|channel|>analysis<|message|>The user")
    assert example.evidence.got.endswith(", as if CoT is missing")


_OWN = "You are Tidal, an assistant of the harbour office. Answer briefly and politely."


def _with_own_instructions(separator: str, joined: bool = True) -> Count:
    """A provider that puts its own instructions before those of the client."""

    def tokens(prompt: Prompt) -> int:
        own = Message("system", _OWN)
        texts = [str(turn.text) for turn in prompt.turns if instructs(turn) and joined]
        others = tuple(turn for turn in prompt.turns if not (joined and instructs(turn)))
        first = Message("system", separator.join([_OWN, *texts])) if joined else own
        return healthy(replace(prompt, turns=(first, *others))) - _SYSTEM_MESSAGE

    return tokens


@pytest.mark.parametrize("separator", ["\n\n", "\n"])
def test_instructions_joined_to_those_of_the_provider_are_one_finding(separator: str) -> None:
    results = judged(_with_own_instructions(separator))
    found = {name for name, each in results.items() if each.status in ("failed", "warned")}
    assert found == {"prompt.bare"}
    (example,) = results["prompt.bare"].examples
    assert example.message.endswith("tokens to a minimal prompt, and joins the client's "
                                    "instructions to them.")  # fmt: skip
    assert results["prompt.system"].status == "not_verifiable"


@pytest.mark.parametrize("added", [113, 27])
def test_text_added_only_without_instructions_is_one_finding(added: int) -> None:
    def tokens(prompt: Prompt) -> int:
        own = not any(map(instructs, prompt.turns))
        return healthy(prompt) - _SYSTEM_MESSAGE + added * own

    results = judged(tokens)
    found = {name for name, each in results.items() if each.status in ("failed", "warned")}
    assert found == {"prompt.bare"}
    assert results["prompt.bare"].status == "failed"
    assert results["prompt.system"].reasons[0].code == "text_added_to_some"


def test_text_added_to_tools_without_instructions_is_one_finding() -> None:
    """Rapid-mlx 0.16 adds 145 tokens to a Chat request with tools and no instructions."""

    def tokens(prompt: Prompt) -> int:
        alone = bool(prompt.tools) and not any(map(instructs, prompt.turns))
        return healthy(prompt) + 145 * alone

    results = judged(tokens)
    assert results["prompt.tool"].status == "failed"
    accused = {name for name, each in results.items() if each.status in ("failed", "warned")}
    assert not {"prompt.tool.with_system", "prompt.tool.with_developer"} & accused
    assert results["prompt.tool.with_system"].reasons[0].code == "text_added_to_some"


def test_a_tool_that_the_provider_adds_is_one_finding() -> None:
    """Headroom adds a tool, so that every prompt has a developer message and a list of tools."""
    hidden = Tool("retrieve", "Return the whole text.", {"type": "object", "properties": {}})

    def tokens(prompt: Prompt) -> int:
        return healthy(replace(prompt, tools=(*prompt.tools, hidden)))

    results = judged(tokens)
    found = {name for name, each in results.items() if each.status in ("failed", "warned")}
    assert found == {"prompt.bare"}
    codes = {results[name].reasons[0].code for name in ("prompt.developer", "prompt.tool")}
    assert codes == {"headings_added"}

    def without_tools(prompt: Prompt) -> int:
        return healthy(replace(prompt, tools=(hidden,)))

    assert judged(without_tools)["prompt.tool"].status == "failed"


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
    right = judged(healthy)[rule]
    assert right.status == "passed"

    def unordered(prompt: Prompt) -> int:
        return healthy(PROMPTS["with order"] if prompt == PROMPTS["without order"] else prompt)

    assert judged(unordered)[rule].status == "failed"
    cached = judged(unordered, ids=lambda name: requests[0] if name in requests else name)[rule]
    assert cached.status == "not_verifiable"
    assert cached.reasons[0].code == "same_reply"


def test_lost_instructions_beside_those_of_the_provider_are_still_found() -> None:
    def without_client(prompt: Prompt) -> int:
        turns = tuple(turn for turn in prompt.turns if not instructs(turn))
        return _with_own_instructions("\n\n")(replace(prompt, turns=turns))

    found = judged(without_client)
    assert found["prompt.system"].status == found["prompt.developer"].status == "failed"
