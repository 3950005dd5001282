"""Outputs of tools, and the answers that report them."""

import json
from dataclasses import dataclass
from random import Random

from training.data import words
from training.data.samples import prose, utterance
from training.data.spans import copy

_FIELDS = (
    "status", "temperature", "condition", "language", "confidence", "html", "image", "row_count",
    "id", "result", "uptime_hours", "value", "price", "message", "weather", "ok", "name", "code",
    "rows", "uptime_seconds", "count", "total", "email", "city", "state", "sum", "date", "url",
)  # fmt: skip
_REASONS = (
    "timeout", "not found", "permission denied", "unknown location", "invalid argument",
    "service unavailable", "no such table", "rate limit reached",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """A tool's output; `gist` and `said` report it, with values marked for copying."""

    output: str
    gist: str
    said: str


def outcome(rng: Random) -> Outcome:
    """JSON, a plain text, an empty output, or an error."""
    draw = rng.random()
    if draw < 0.13:
        return _error(rng)
    if draw < 0.2:
        text = rng.choice((words.words(rng, 1, 5), words.string_value(rng), words.number_text(rng)))
        return Outcome(text, copy(text), f"Result: {copy(text)}.")
    if draw < 0.23:
        return Outcome(rng.choice(("", "null", "{}", "[]", "done", "ok")), "nothing", "Done.")
    return of_fields(fields(rng), rng)


def fields(rng: Random) -> dict[str, object]:
    """The fields of one result."""
    count = rng.choice((1, 1, 2, 2, 2, 3, 4))
    names = [
        words.identifier(rng) if rng.random() < 0.5 else rng.choice(_FIELDS) for _ in range(count)
    ]
    found = {name: leaf(rng) for name in names}
    if rng.random() < 0.15:
        row = {words.word(rng): leaf(rng)}
        found["rows"] = [row] * rng.randint(1, 2)
    return found


def of_fields(found: dict[str, object], rng: Random) -> Outcome:
    """An outcome that reports the first two plain fields."""
    simple = [(k, v) for k, v in found.items() if not isinstance(v, list)][:2]
    if not simple:
        return Outcome(json.dumps(found, ensure_ascii=False), "some rows", "Done.")
    gist = " and ".join(f"{copy(key)} is {spoken(value)}" for key, value in simple)
    text = json.dumps(
        found,
        ensure_ascii=False,
        indent=rng.choice((None, None, None, None, 2)),
        separators=rng.choice((None, None, (",", ":"))),
    )
    if rng.random() < 0.06:
        text = json.dumps(text, ensure_ascii=False)
    return Outcome(text, gist, f"Result: {gist}.")


def leaf(rng: Random) -> object:
    """One plain value."""
    draw, tag = rng.random(), rng.choice(("h2", "em", "li", "code", "b", "u"))
    if draw < 0.4:
        return words.string_value(rng)
    if draw < 0.5:
        return _text(rng)
    if draw < 0.75:
        return rng.randint(0, 10 ** rng.randint(1, 5))
    if draw < 0.83:
        return rng.randint(0, 999) / 10
    if draw < 0.9:
        return rng.random() < 0.5
    return rng.choice(
        (f"<p>{words.word(rng)}</p>", f"<{tag}>{_text(rng)}</{tag}>",
         f"<p><{tag}>{words.word(rng)}</{tag}></p>", "ok", "up",
         f"{words.word(rng)}-{rng.randint(1, 99)}.png",
         f"<h1>{words.capital(rng)}</h1>", f"{words.word(rng)}@{words.word(rng)}.com", "sunny")
    )  # fmt: skip


def _text(rng: Random) -> str:
    """Some words or a sentence, without characters that JSON escapes."""
    text = prose(rng, 2, 4) if rng.random() < 0.7 else utterance(rng)
    return text.replace('"', "").replace("\\", "") or words.word(rng)


def spoken(value: object) -> str:
    """A value as worded in an answer."""
    return copy(value if isinstance(value, str) else json.dumps(value))


def _error(rng: Random) -> Outcome:
    draw = rng.random()
    reason = words.words(rng, 1, 3) if draw < 0.3 else rng.choice(_REASONS)
    if draw > 0.55:
        reason = _text(rng)
    output = rng.choice(
        (
            _json({"error": reason}),
            f"Error: {reason}",
            f"error: {reason}",
            _json({"status": "error", "message": reason}),
            _json({"error": {"message": reason}}),
            _json({"ok": False, "error": reason}),
        )
    )
    return Outcome(output, f"an error: {copy(reason)}", f"That failed: {copy(reason)}.")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
