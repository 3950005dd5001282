"""Former names of rules and families, for gates and commands that still use them.

A rule without a successor has no new name.
"""

from collections.abc import Mapping

RENAMED: Mapping[str, str] = {
    "leaks": "text",
    "schema": "reply",
    "finish": "limits",
    "parameters": "calls, limits and structured",
    "parity": "parity.calls, parity.text and others of the family stream",
    "logprobs": "numerics",
    "echo": "text",
    "options": "sampling",
    "chat.reasoning.missing": "reasoning.missing",
    "responses.reasoning.missing": "reasoning.missing",
    "reasoning.absent": "reasoning.rare",
    "tools.choice.none.streaming": "tools.choice.none",
    "tools.choice.required.streaming": "tools.choice.required",
    "tools.choice.named.streaming": "tools.choice.named",
    "prompt.cot.kept.beside_text": "prompt.cot.kept",
    "prompt.cot.kept.across_calls": "prompt.cot.kept",
    "tools.schema.no_properties": "clients.empty_schema",
    "chat.logprobs.missing": "logprobs.given",
    "errors.body.fields": "errors.body",
    "errors.stream": "errors.status",
    "limits.finish": "finish.limit",
    "limits.finish.max_completion_tokens": "limits.max_completion_tokens",
    "logprobs.cot": "",
    "long.output.lines": "",
    "long.words.loop": "",
    "options.precedence": "",
    "limits.long": "finish.early",
    "limits.prefix.header": "limits.prefix",
    "limits.prefix.json": "reply.lost",
    "limits.stop": "stop.kept",
    "limits.stop.cot": "stop.early",
    "limits.stop.several": "stop.kept",
    "load.answered": "load.cross_talk",
    "long.accepted": "long.answered",
    "long.limit.fits": "long.limit",
    "long.limit.named": "long.limit",
    "long.limit.over": "long.limit",
    "long.prefix.words": "long.prefix.replies",
    "long.tokens.loop": "long.tokens",
    "long.tokens.result": "long.tokens",
    "long.tokens.tools": "long.tokens",
    "reasoning.lost": "usage.output.lost",
    "reply.truncated.answer": "usage.output.lost",
    "sampling.effort.steps": "sampling.effort",
    "state.previous_response.calls": "state.previous_response",
    "state.previous_response.instructions.earlier": "state.previous_response.instructions",
    "responses.status.items": "responses.status",
    "usage.cached.excess": "usage.sum",
    "usage.limit": "finish.limit",
    "usage.output.cut": "usage.output.lost",
    "usage.output.uncounted": "usage.sum",
    "usage.output.unseen": "usage.output.lost",
    "usage.reasoning.differs": "usage.reasoning",
    "usage.reasoning.differs.with_calls": "usage.reasoning",
    "usage.reasoning.excess": "usage.sum",
    "usage.reasoning.missing": "usage.reasoning",
    "usage.zero": "usage.sum",
    "calls.arguments.retyped.planned": "calls.arguments.retyped",
}


def now_called(name: str) -> str | None:
    """Return what has become of a former name, in a clause; None if it is not one."""
    now = RENAMED.get(name)
    return now and f"{name} is now {now}" if now != "" else f"{name} no longer exists"
