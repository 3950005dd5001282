"""The families of rules: their titles, and which matter most to clients."""

from collections.abc import Mapping

FAMILIES: Mapping[str, str] = {
    "errors": "Errors: rejected and failed requests",
    "calls": "Tool calls: names, ids, arguments, choice and results",
    "cot": "Chain of thought: returned, accepted back, used, and dropped in time",
    "structured": "Structured output: JSON that conforms to its schema, with CoT",
    "state": "State: conversations that the provider stores",
    "stream": "Streams: grammar of events, and agreement with other replies",
    "reply": "Replies: objects that conform to their API, and ids that tell them apart",
    "text": "Text: leaks and defects of generated text",
    "prompt": "Prompt: what reaches the model",
    "clients": "Clients: the forms of requests that real clients send",
    "limits": "Limits: token limits, stop strings, and reasons why replies end",
    "long": "Long prompts: complete, at the right positions, and cached without change",
    "load": "Load: many concurrent requests",
    "builtin": "Built-in tools: Python and web search, run by the provider",
    "numerics": "Numerics: logprobs and tokens of the reference engine",
    "sampling": "Sampling: effort, temperature, seed, choices and other options",
    "reference": "Reference: replies as the model itself would have written them",
    "usage": "Token counts: present, possible, and matching the text",
}
"""By family, which is a folder of `harness.rules`. Defects that stop clients or change what the
model does come first; what clients rarely read comes last."""
_ORDER = list(FAMILIES)


def title(family: str) -> str:
    """Return the name of the family and its subject, on one line."""
    return FAMILIES.get(family, family.capitalize())


def short_title(family: str) -> str:
    """Return the name of the family."""
    return title(family).partition(":")[0]


def family_rank(family: str) -> int:
    """Return the place of the family in the order of what breaks clients first, from 0."""
    return _ORDER.index(family) if family in FAMILIES else len(_ORDER)
