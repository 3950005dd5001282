"""Long texts with secrets in them: prose, repetition, logs, tables, code and documents."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from training.data import canary, documents, natural, places, samples, words
from training.data.canary import Secret
from training.data.spans import encode

_MANY = (1, 1, 1, 2, 2, 3, 4, 6)
_OWNERS = ("{n} for {x}", "{n} of {x}", "{x} {n}", "{n} at {x}", "{n} no. {d}", "{n} in {x}")
_LEVELS = ("INFO", "DEBUG", "WARN", "ERROR", "TRACE")


@dataclass(frozen=True)
class LongText:
    """A text of several paragraphs that ends with a full stop, and the secrets that it states."""

    text: str
    secrets: tuple[Secret, ...]


def long_text(rng: Random, shortest: int, longest: int) -> LongText:
    """A text with a number of tokens in this range, log-uniformly distributed."""
    length = int(math.exp(rng.uniform(math.log(shortest), math.log(max(shortest, longest)))))
    makers = rng.sample(_MAKERS, rng.choice((1, 1, 2, 3)))
    parts: list[str] = []
    size = 0
    while size < length:
        parts.append(rng.choice(makers)(rng))
        size += len(encode(parts[-1])) + 1
    hidden = _secrets(rng, rng.choice(_MANY))
    for one in hidden:
        said = canary.told(rng, one)
        alone = rng.random() < 0.6
        at = rng.randint(0, len(parts))
        if alone or at == len(parts):
            parts.insert(at, said)
        else:
            parts[at] = f"{said} {parts[at]}" if rng.random() < 0.5 else f"{parts[at]} {said}"
    text = rng.choice(("\n\n", "\n\n", "\n")).join(parts).rstrip()
    return LongText(text if text[-1] in ".!?" else f"{text}.", hidden)


def _secrets(rng: Random, count: int) -> tuple[Secret, ...]:
    """Secrets whose names do not contain each other; some differ only in their purpose."""
    found: list[Secret] = []
    first = canary.secret(rng)
    alike = count > 1 and rng.random() < 0.5
    while len(found) < count:
        one = canary.secret(rng)
        if alike:
            name = rng.choice(_OWNERS).replace("{n}", first.name)
            name = name.replace("{x}", rng.choice((words.capital, places.named, words.word))(rng))
            one = Secret(name.replace("{d}", str(rng.randint(1, 99))), one.value)
        if not any(one.name in other.name or other.name in one.name for other in found):
            found.append(one)
        elif not alike:
            one = Secret(f"{words.word(rng)} {one.name}", one.value)
            if not any(one.name in other.name or other.name in one.name for other in found):
                found.append(one)
    return tuple(found)


def _prose(rng: Random) -> str:
    return " ".join(natural.sentence(rng) for _ in range(rng.randint(2, 8)))


def _repeated(rng: Random) -> str:
    """The same few sentences repeatedly, as tests pad their prompts."""
    said = " ".join(natural.sentence(rng) for _ in range(rng.choice((1, 1, 2, 4))))
    return " ".join([said] * rng.randint(4, 25))


def _excerpts(rng: Random) -> str:
    return " ".join(samples.utterance(rng) for _ in range(rng.randint(2, 6)))


def _log(rng: Random) -> str:
    day = f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    lines = (
        f"{day} {rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02} "
        f"{rng.choice(_LEVELS)} {words.identifier(rng)}: {words.words(rng, 2, 6)}"
        for _ in range(rng.randint(3, 12))
    )
    return "\n".join(lines)


def _table(rng: Random) -> str:
    names = [words.identifier(rng) for _ in range(rng.randint(2, 5))]
    makers = [
        rng.choice((words.word, words.capital, words.number_text, words.nonce)) for _ in names
    ]
    mark = rng.choice((",", ";", " | ", "\t"))
    rows = [mark.join(maker(rng) for maker in makers) for _ in range(rng.randint(3, 15))]
    return "\n".join((mark.join(names), *rows))


def _records(rng: Random) -> str:
    names = [words.identifier(rng) for _ in range(rng.randint(1, 4))]
    rows = [{name: words.string_value(rng) for name in names} for _ in range(rng.randint(2, 8))]
    indent = rng.choice((None, None, 2))
    return json.dumps(rows, ensure_ascii=False, indent=indent)


def _code(rng: Random) -> str:
    """Some lines that look like a program."""
    name, other = words.identifier(rng).replace("-", "_"), words.word(rng)
    lines = [f"def {name}({other}):", f'    """{natural.sentence(rng)}"""']
    for _ in range(rng.randint(1, 6)):
        left, right = words.word(rng), words.word(rng)
        lines.append(
            rng.choice(
                (f"    {left} = {other}.{right}({rng.randint(0, 99)})", f"    if {left} > {right}:",
                 f"        return {left}[{right!r}]", f"    # {words.words(rng, 2, 6)}",
                 f"    {left} += {rng.randint(1, 9)}", f"    {left}({right}={words.word(rng)!r})")
            )
        )  # fmt: skip
    return "\n".join((*lines, f"    return {other}"))


def _rules(rng: Random) -> str:
    """A heading and rules, as in long instructions."""
    mark = rng.choice(("-", "*", "1."))
    lines = [f"{mark} {natural.sentence(rng)}" for _ in range(rng.randint(2, 8))]
    return "\n".join((f"{'#' * rng.randint(1, 3)} {natural.phrase(rng)}", "", *lines))


def _document(rng: Random) -> str:
    return documents.document(rng)


_MAKERS: tuple[Callable[[Random], str], ...] = (
    _prose, _prose, _prose, _repeated, _excerpts, _log, _table, _records, _code, _rules, _rules,
    _document,
)  # fmt: skip
