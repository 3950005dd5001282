"""Faults of sampling parameters, limits, usage, and errors."""

import pytest
from faulty import HI, Row, after, chat, check, names_of, respond
from scripted import ANSWER, CALL, CHAT_TOOL, COT, LONG_COT
from test_faults_found import found_by_checks

from harmony.parse import CALL as CALL_TOKEN
from harmony.parse import RETURN
from harmony.vocabulary import encode
from reference_engine.faults.catalogue import CATALOGUE
from reference_engine.faults.hooks import LOGITS, PAYLOAD
from reference_engine.faults.http import ClientRequest

INVENTED = '<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>"hot"<|end|>'
AGAIN = "<|start|>assistant<|channel|>final<|message|>Once more.<|return|>"


_PATTERN = {"type": "object", "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}}}
_WITH_PATTERN = {"type": "function", "function": {"name": "f", "parameters": _PATTERN}}
HI_PART = {"type": "text", "text": "Hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def logprobs(seen) -> list[float]:
    return [token["logprob"] for token in seen.json["choices"][0]["logprobs"]["content"]]


SAMPLING = {
    "hidden-top-p": Row(chat(HI, top_p=0.95), lambda s: s.params[-1].top_p == 0.9),
    "top-p-dropped-beside-temperature": Row(
        chat(HI, temperature=1, top_p=0.5), lambda s: s.params[-1].top_p == 1
    ),
    "temperature-zero-beside-tools": Row(
        chat(HI, tools=[CHAT_TOOL], temperature=1), lambda s: s.params[-1].temperature == 0
    ),
    "temperature-lowered": Row(chat(HI, temperature=1), lambda s: s.params[-1].temperature == 0.7),
    "temperature-fixed": Row(chat(HI, temperature=0), lambda s: s.params[-1].temperature == 0.7),
    "always-greedy": Row(chat(HI), lambda s: s.params[-1].temperature == 0),
    "seed-constant": Row(chat(HI), lambda s: s.params[-1].seed == 42),
    "seed-ignored": Row(chat(HI, seed=3), lambda s: s.params[-1].seed is None),
    "seed-zero-ignored": Row(chat(HI, seed=0), lambda s: s.params[-1].seed is None),
    "alternatives-without-text": Row(
        chat(HI, logprobs=True, top_logprobs=2),
        lambda s: s.json["choices"][0]["logprobs"]["content"][0]["top_logprobs"][1]["token"] == "",
    ),
    "call-not-a-stop": Row(
        chat(HI, said=CALL + INVENTED, tools=[CHAT_TOOL]),
        lambda s: (
            s.call
            and s.message["content"] == '"hot"'
            and CALL_TOKEN not in s.params[-1].stop_token_ids
        ),
    ),
    "return-not-a-stop": Row(
        chat(HI, said=ANSWER + AGAIN),
        lambda s: (
            s.message["content"] == "Hello there.\n\nOnce more."
            and RETURN not in s.params[-1].stop_token_ids
        ),
    ),
}


def _prompt_tokens(seen) -> int:
    return seen.json.get("usage", {}).get("prompt_tokens", 0)


USAGE = {
    "prompts-of-streams-estimated": Row(
        chat(HI, stream=True, stream_options={"include_usage": True}),
        lambda s: s.events[-1]["usage"]["prompt_tokens"] == 40,
    ),
    "prompt-tokens-rounded": Row(chat(HI), lambda s: _prompt_tokens(s) % 16 == 0),
    "prompt-counted-per-choice": Row(
        chat(HI, n=2), lambda s: _prompt_tokens(s) == 2 * len(encode(s.prompt))
    ),
    "prompt-tokens-summed-over-turns": Row(
        after(respond(), "More"),
        lambda s: s.json["usage"]["input_tokens"] == sum(len(encode(text)) for text in s.prompts),
    ),
    "prompt-tokens-doubled": Row(
        chat(HI), lambda s: _prompt_tokens(s) == 2 * len(encode(s.prompt))
    ),
    "completion-tokens-excess": Row(
        chat(HI), lambda s: s.json["usage"]["completion_tokens"] == 16 + 20
    ),
    "calls-of-streams-overcounted": Row(
        chat(HI, said=CALL, tools=[CHAT_TOOL], stream=True, stream_options={"include_usage": True}),
        lambda s: s.events[-1]["usage"]["completion_tokens"] == len(encode(CALL)) + 12,
    ),
    "reasoning-uncounted-beside-schema": Row(
        chat(HI, response_format={"type": "text"}),
        lambda s: s.json["usage"]["completion_tokens"] == 16 - 3,
    ),
    "completion-tokens-of-all-chunks": Row(
        chat(HI, stream=True, stream_options={"include_usage": True}),
        lambda s: s.events[-1]["usage"]["completion_tokens"] == 16 * 17 // 2,
    ),
    "usage-in-every-chunk": Row(
        chat(HI, stream=True, stream_options={"include_usage": True}),
        lambda s: all(event["usage"] for event in s.events),
    ),
}
LIMITS = {
    "truncation-as-completed": Row(
        respond(said=LONG_COT, max_output_tokens=16, stream=True),
        lambda s: (
            s.types[-1] == s.text.rsplit("event: ", 1)[1].split("\n")[0] == "response.completed"
        ),
    ),
    "truncated-cot-split": Row(
        chat(HI, said=LONG_COT, max_tokens=16),
        lambda s: s.finish == "length" and s.message["content"] and s.message["reasoning"],
    ),
    "truncated-notice": Row(
        chat(HI, said=LONG_COT, max_tokens=16),
        lambda s: s.finish == "length" and "token limit" in (s.message["content"] or ""),
    ),
    "limit-hidden": Row(
        chat(HI, said=COT + COT + ANSWER), lambda s: s.json["usage"]["completion_tokens"] == 16
    ),
    "limit-hidden-of-512": Row(chat(HI), lambda s: s.params[-1].max_tokens == 512),
    "limit-hidden-of-long-replies": Row(chat(HI), lambda s: s.params[-1].max_tokens == 2048),
    "limit-lowered-of-long-replies": Row(
        chat(HI, max_tokens=16_000), lambda s: s.params[-1].max_tokens == 2048
    ),
    "prompt-cut-in-the-middle": Row(
        chat({"role": "user", "content": "one two " * 800}),
        lambda s: s.json["usage"]["prompt_tokens"] == 1024,
    ),
    "large-limit-cuts-prompt": Row(
        chat(HI, max_tokens=131_072),
        lambda s: s.prompt.endswith("Hi<|end|><|start|>assistant") and "ChatGPT" not in s.prompt,
    ),
    "prompt-cut-at-the-front": Row(
        chat({"role": "user", "content": "one two " * 2020}), lambda s: _prompt_tokens(s) == 4000
    ),
    "overflow-cut-silently": Row(
        chat({"role": "user", "content": "one two " * 4000}), lambda s: s.status == 200
    ),
}


WRONG = chat(HI, temperature="hot")


def called(name: str, output: str = "sunny") -> list[dict]:
    function = {"name": "get_weather", "arguments": "{}"}
    call = {"id": name, "type": "function", "function": function}
    result = {"role": "tool", "tool_call_id": name, "content": output}
    return [HI, {"role": "assistant", "tool_calls": [call]}, result]


ERRORS = {
    "errors-with-status-200": Row(WRONG, lambda s: s.status == 200 and "error" in s.json),
    "error-as-detail": Row(WRONG, lambda s: s.status == 400 and "detail" in s.json),
    "unknown-model-accepted": Row(
        chat(HI, model="gpt-9"), lambda s: s.status == 200 and s.json["model"] == "gpt-9"
    ),
    "wrong-types-ignored": Row(WRONG, lambda s: s.status == 200),
    "images-ignored": Row(
        chat({"role": "user", "content": [HI_PART, IMAGE]}), lambda s: s.status == 200
    ),
    "images-crash": Row(
        chat({"role": "user", "content": [HI_PART, IMAGE]}), lambda s: s.status == 500
    ),
    "pages-with-status-200": Row(
        chat(HI), lambda s: s.status == 200 and s.text.startswith("<html>")
    ),
    "message-members-refused": Row(chat({**HI, "name": "me"}), lambda s: s.status == 400),
    "optional-members-required": Row(
        chat(HI, tools=[{"type": "function", "function": {"name": "f"}}]),
        lambda s: s.status == 400,
    ),
    "other-tools-crash": Row(
        respond(tools=[{"type": "custom", "name": "f"}]), lambda s: s.status == 500
    ),
    "late-developer-dropped": Row(
        chat(HI, {"role": "developer", "content": "Be brief."}), lambda s: "brief" not in s.prompt
    ),
    "other-tools-dropped": Row(
        respond(tools=[{"type": "custom", "name": "f"}]),
        lambda s: "namespace functions" not in s.prompt,
    ),
    "unmatched-result-accepted": Row(
        chat(HI, {"role": "tool", "tool_call_id": "c9", "content": "x"}),
        lambda s: s.status == 200,
    ),
    "message-before-output-refused": Row(
        respond(
            [
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"role": "user", "content": "Take your time."},
                {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
            ]
        ),
        lambda s: s.status == 400,
    ),
    "pattern-in-schema-refused": Row(chat(HI, tools=[_WITH_PATTERN]), lambda s: s.status == 400),
    "two-system-messages-crash": Row(
        chat({"role": "system", "content": "Be brief."}, {"role": "system", "content": "Ok."}, HI),
        lambda s: s.status == 502,
    ),
    "other-ids-refused": Row(chat(*called("toolu:1/a")), lambda s: s.status == 400),
    "long-ids-refused": Row(chat(*called("call_" + "x" * 78)), lambda s: s.status == 400),
    "rejection-locks-all": Row(
        chat(HI, temperature="hot"),
        lambda s: s.status == 503 and "[400]" in s.text and "(reset after 2s)" in s.text,
    ),
    "other-efforts-crash": Row(chat(HI, reasoning_effort="xhigh"), lambda s: s.status == 500),
    "empty-input-accepted": Row(respond([]), lambda s: s.status == 200),
    "max-tokens-refused": Row(chat(HI, max_tokens=16), lambda s: s.status == 400),
    "prefilled-answers-crash": Row(
        chat(HI, {"role": "assistant", "content": "Ahoy"}), lambda s: s.status == 500
    ),
    "empty-results-crash": Row(chat(*called("c1", "")), lambda s: s.status == 500),
    "long-prompts-crash": Row(
        chat({"role": "user", "content": "one", "name": "n" * 100_000}), lambda s: s.status == 500
    ),
    "other-bodies-answered": Row(respond(7), lambda s: s.status == 200),
    "rare-options-crash": Row(chat(HI, service_tier="auto"), lambda s: s.status == 500),
    "verbosity-and-includes-refused": Row(
        respond("Hi", include=["reasoning.encrypted_content"]), lambda s: s.status == 400
    ),
}


def test_every_fault_has_a_row_or_is_found_in_single_replies():
    drawn = {name for name, fault in CATALOGUE.items() if fault.at(LOGITS) and not fault.allowed}
    rows = (
        SAMPLING.keys()
        | drawn
        | USAGE.keys()
        | LIMITS.keys()
        | ERRORS.keys()
        | {"logprobs-shifted"}
    )
    rows |= {"truncated-json-lost"}  # needs grammars, which the scripted engine lacks
    layers = names_of("sampling", "limits", "usage", "errors")
    rows |= {
        # The judged cases have these (tools/judgements.json).
        *("upstream-failures-as-refusals", "prompt-tokens-without-cached"),
        "rejected-drafts-counted",
        "alternatives-named-as-sampled",
        *(layers & {*found_by_checks()}),
    }
    assert rows == layers


@pytest.mark.parametrize("name", SAMPLING | USAGE | LIMITS | ERRORS)
async def test_replies(name):
    await check(name, (SAMPLING | USAGE | LIMITS | ERRORS)[name])


def test_shifted_logprobs():
    tokens = [{"logprob": -1.0}, {"logprob": -2.0}, {"logprob": -3.0}]
    change = CATALOGUE["logprobs-shifted"].at(PAYLOAD)
    change({"choices": [{"logprobs": {"content": tokens}}]}, ClientRequest("chat", {}, "m"))
    assert [token["logprob"] for token in tokens] == [-1.0, -1.0, -2.0]
