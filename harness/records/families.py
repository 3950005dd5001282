"""The families of checks and probes: their titles, and which matter most to clients."""

from collections.abc import Mapping

_TITLES: Mapping[str, str] = {
    "errors": "Errors: rejected and failed requests",
    "tools": "Tool calls: names, ids and arguments",
    "cot": "Chain of thought: returned, accepted back, used, and dropped in time",
    "structured": "Structured output: JSON that conforms to its schema, with CoT",
    "state": "State: conversations that the provider stores",
    "stream": "Stream grammar: order and consistency of events",
    "schema": "Schema: replies, chunks and events conform to the API",
    "leaks": "Leaks and defects of generated text",
    "prompt": "Prompt: what reaches the model",
    "clients": "Clients: the forms of requests that real clients send",
    "finish": "Finish: reason and status agree with the content",
    "limits": "Limits: token limits and stop strings",
    "long": "Long prompts: complete, at the right positions, and cached without change",
    "load": "Load: many concurrent requests",
    "parity": "Parity: streaming and non-streaming replies agree",
    "builtin": "Built-in tools: Python and web search, run by the provider",
    "logprobs": "Logprobs: valid, and of the right tokens",
    "numerics": "Numerics: logprobs and tokens of the reference engine",
    "sampling": "Sampling: effort, temperature, seed and choices",
    "parameters": "Parameters: replies follow the options of their requests",
    "echo": "Echo: short texts that the model repeats, unchanged in both directions",
    "usage": "Token counts: present, possible, and consistent",
    "options": "Options: repeated unchanged, and precedence of instructions",
}
"""By family. Defects that stop clients or change what the model does come first; what clients
rarely read comes last."""
_ORDER = list(_TITLES)


def title(family: str) -> str:
    """Return the name of the family and its subject, on one line."""
    return _TITLES.get(family, family.capitalize())


def short_title(family: str) -> str:
    """Return the name of the family."""
    return title(family).partition(":")[0]


def family_rank(family: str) -> int:
    """Return the place of the family in the order of what breaks clients first, from 0."""
    return _ORDER.index(family) if family in _TITLES else len(_ORDER)
