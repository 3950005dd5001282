"""Conditions on the rows of a table, as shown in a request and as written in a query."""

from collections.abc import Sequence
from random import Random

from training.data import words
from training.data.phrases import quoted
from training.data.spans import copy

_SIGNS = (">", "<", "=", ">=", "<=", "!=", "<>", ">", "<", "=")
_COMPARISONS = (
    ("is above", ">"), ("is over", ">"), ("is greater than", ">"), ("is more than", ">"),
    ("is below", "<"), ("is under", "<"), ("is less than", "<"), ("equals", "="), ("is", "="),
    ("exceeds", ">"), ("is larger than", ">"), ("is higher than", ">"), ("is lower than", "<"),
    ("is smaller than", "<"), ("above", ">"), ("over", ">"), ("below", "<"), ("under", "<"),
    ("is at least", ">="), ("is at most", "<="), ("is not", "!="), ("greater than", ">"),
)  # fmt: skip
_VALUES = (
    "open", "closed", "late", "paid", "pending", "active", "gold", "red", "blue", "north", "A",
    "Berlin", "Oslo", "Lima", "jazz", "done", "cancelled", "new", "high", "low", "yes", "no", "EUR",
    "Smith", "Rossi", "winter", "summer", "Monday", "steel", "wood", "error", "B2", "São Paulo",
    "large", "small", "vegan", "Brückner", "São", "K-12", "in transit", "night shift", "O+",
)  # fmt: skip


def said_condition(rng: Random, columns: Sequence[str]) -> tuple[str, str]:
    """A condition as shown in a sentence and as written in the query, usually the same."""
    column = rng.choice(columns)
    draw = rng.random()
    if draw < 0.12:
        said, sign = rng.choice(_COMPARISONS)
        number = words.number_text(rng)
        return f"{column} {said} {number}", f"{copy(column)} {sign} {copy(number)}"
    if draw < 0.2:
        value = _value(rng)
        return f"{column} is '{value}'", f"{copy(column)} = '{copy(value)}'"
    text = condition(rng, columns)
    return quoted(rng, text, 0.33), copy(text)


def condition(rng: Random, columns: Sequence[str]) -> str:
    """One comparison in SQL, or two."""
    text = _simple(rng, rng.choice(columns))
    if rng.random() < 0.22:
        joint = rng.choice((" AND ", " AND ", " and ", " OR ", " or "))
        text += joint + _simple(rng, rng.choice(columns))
    return text


def _simple(rng: Random, column: str) -> str:
    draw = rng.random()
    if draw < 0.36:
        sign = rng.choice(_SIGNS)
        return column + rng.choice((f" {sign} ", f" {sign} ", f" {sign} ", sign)) + _number(rng)
    if draw < 0.66:
        sign = rng.choice((" = ", " = ", " = ", "=", " != ", " <> "))
        quote = rng.choice(("'", "'", "'", '"', ""))
        return f"{column}{sign}{quote}{_value(rng, bare=not quote)}{quote}"
    if draw < 0.77:
        day = f"{rng.randint(1990, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        return f"{column} {rng.choice(('>', '<', '>=', '<=', '='))} '{day}'"
    return _special(rng, column)


def _special(rng: Random, column: str) -> str:
    value = _value(rng)
    numbers = sorted(rng.randint(0, rng.choice((20, 3000))) for _ in range(3))
    return rng.choice(
        (
            f"{column} LIKE '%{value}%'", f"{column} LIKE '{value}%'", f"{column} like '%{value}'",
            f"{column} IN ('{value}', '{_value(rng)}')", f"{column} in ('{value}')",
            f"{column} IN ({numbers[0]}, {numbers[1]}, {numbers[2]})", f"{column} IS NULL",
            f"{column} NOT IN ({numbers[0]}, {numbers[2]})", f"{column} IS NOT NULL",
            f"{column} BETWEEN {numbers[0]} AND {numbers[2]}", f"{column} is not null",
            f"{column} = true", f"{column} = FALSE", f"{column} LIKE '_{value}'",
            f"{column} NOT LIKE '%{value}%'", f"NOT {column} = '{value}'",
        )
    )  # fmt: skip


def _number(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.7:
        return words.number_text(rng)
    if draw < 0.85:
        return str(rng.randint(0, 9999) / rng.choice((10, 100)))
    return str(rng.choice((rng.randint(1900, 2030), -rng.randint(1, 40))))


def _value(rng: Random, *, bare: bool = False) -> str:
    """A text value of a column; a bare one is a single word."""
    if rng.random() < 0.45:
        return rng.choice([value for value in _VALUES if value.isalnum() or not bare])
    return rng.choice((words.word, words.capital, words.nonce))(rng)
