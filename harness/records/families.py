"""What the families of checks and probes are called."""

from __future__ import annotations

from collections.abc import Mapping

_TITLES: Mapping[str, str] = {
    "schema": "Schema: replies, chunks and events as the API has them",
    "stream": "Stream grammar: what may follow what, and what must add up",
    "cot": "Chain of thought: present in its place, taken back, dropped in time",
    "tools": "Tool calls: names, ids and arguments",
    "parameters": "Parameters: what the request asked for",
    "finish": "Finish: reasons and status that agree with what was said",
    "usage": "Token counts: present, possible, adding up",
    "errors": "Errors: refusals and failures",
    "leaks": "Leaks and invariants of everything that is sampled",
    "prompt": "Prompt: what reached the model",
    "state": "State: conversations that the provider keeps",
    "limits": "Limits: of tokens, and stop strings",
    "sampling": "Sampling: effort, temperature, seed and choices",
    "logprobs": "Log probabilities: possible, and those of the tokens",
    "numerics": "Numerics: the reference engine's log probabilities and tokens",
    "structured": "Structured output: JSON that fits its schema, beside the CoT",
    "options": "Options: repeated as sent, and whose instructions count",
    "load": "Load: many requests at once",
    "parity": "Parity: stream against whole reply",
}


def title(family: str) -> str:
    """The family and what it is about, in one line."""
    return _TITLES.get(family, family.capitalize())


def short_title(family: str) -> str:
    """The same without what it is about."""
    return title(family).partition(":")[0]
