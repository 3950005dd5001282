"""Requests to read rows of a table: sentences, SQL, labeled lines, clauses in any order."""

from random import Random
from typing import Any, NamedTuple

from harmony.conversation import FunctionTool
from training.data import table_wording as wording
from training.data.phrases import fill, listed, quoted, template
from training.data.spans import copy
from training.data.table_filters import condition, said_condition
from training.data.table_names import Scheme, scheme
from training.data.task import Ask, parameter_names


class Query(NamedTuple):
    """A query: each part as shown in the request, by slot, and the arguments."""

    shown: dict[str, str]
    """`t` and `c`: the table and the columns; optionally `f`, `o` and `l`: filter, order, limit."""
    columns: tuple[str, ...]
    values: dict[str, Any]


def query(rng: Random, tool: FunctionTool) -> Ask:
    """A request for columns of a table, perhaps with a condition, an order or a limit."""
    names = parameter_names(tool)
    (write,) = rng.choices(
        (_in_words, _in_clauses, _labelled, _as_sql, _bulleted), (55, 21, 14, 5, 5)
    )
    drawn = _query(rng, scheme(rng), said=write is _in_words)
    values = drawn.values
    if "filters" in names and "filter" in values:
        values["filters"] = values.pop("filter")
    return Ask(write(rng, drawn), {name: values[name] for name in names if name in values})


def _query(rng: Random, names: Scheme, *, said: bool) -> Query:
    """Draw the parts; if they are `said` in a sentence, the condition may be in words."""
    chance = rng.choice((0.0, 0.3, 0.45, 0.45, 0.6, 1.0))
    quotes = rng.choice((0.0, 0.0, 0.0, 0.0, 0.4, 1.0))
    shown = {
        "t": quoted(rng, names.table, 0.18),
        "c": _listed(rng, _quoted_alike(rng, names.selected, quotes)),
    }
    values: dict[str, Any] = {
        "table": copy(names.table),
        "columns": [copy(column) for column in names.selected],
    }
    if rng.random() < chance:
        shown["f"], values["filter"] = _filter(rng, names.columns, said=said)
    if rng.random() < chance:
        column = rng.choice(names.selected if rng.random() < 0.5 else names.others)
        shown["o"] = quoted(rng, column, quotes)
        values["order_by"] = copy(column)
    if rng.random() < chance:
        values["limit"] = rng.randint(1, rng.choice((10, 20, 100, 1000)))
        shown["l"] = str(values["limit"])
    return Query(shown, names.selected, values)


def _filter(rng: Random, columns: tuple[str, ...], *, said: bool) -> tuple[str, str]:
    if said:
        return said_condition(rng, columns)
    text = condition(rng, columns)
    return quoted(rng, text, 0.2), copy(text)


def _quoted_alike(rng: Random, names: tuple[str, ...], chance: float) -> list[str]:
    """The names, some or all in the same quotes."""
    left, right = rng.choice((('"', '"'), ("'", "'"), ("`", "`"), ("`", "`"), ("“", "”")))
    return [f"{left}{name}{right}" if rng.random() < chance else name for name in names]


def _listed(rng: Random, names: list[str]) -> str:
    if len(names) == 1 or rng.random() < 0.72:
        return listed(rng, names)
    joint = rng.choice(wording.JOINTS)
    if any(sign.isalpha() for sign in joint):
        return ", ".join(names[:-1]) + joint + names[-1]
    return joint.join(names)


def _in_words(rng: Random, drawn: Query) -> str:
    """A handwritten sentence, with further requirements before, within or after it."""
    asked = template(
        rng,
        "query_table",
        verbs=wording.VERBS,
        nouns=wording.NOUNS,
        questions=wording.QUESTIONS,
        tails=False,
    )
    shown = drawn.shown
    wishes = _shuffled(rng, [slot for slot in "fol" if slot in shown])
    lead = ""
    if wishes and rng.random() < 0.14:
        slot = wishes.pop()
        lead = rng.choice(wording.LEADS[slot]).replace("{v}", shown[slot])
    _, open_slot, after = asked.partition("{e}")
    closes = not after.strip(".?!")
    if open_slot:
        extra = "".join(_wish(rng, slot, shown[slot], closes=closes) for slot in wishes)
    else:
        asked += "." if wishes and asked[-1] not in ".?!" else ""
        extra = "".join(f" {_sentence(rng, slot, shown[slot])}." for slot in wishes)
    table = shown["t"]
    if _in_quotes(asked, "{t}"):
        table = table.strip("\"'`“”«»‘’„「」 ")
    text = fill(rng, asked, {"c": shown["c"], "t": table, "e": extra if open_slot else ""})
    return lead + text + ("" if open_slot else extra)


def _in_quotes(asked: str, slot: str) -> bool:
    before, _, after = asked.partition(slot)
    return before[-1:] in {"`", "'", '"'} and after[:1] in {"`", "'", '"'}


def _shuffled(rng: Random, items: list[str]) -> list[str]:
    return rng.sample(items, len(items))


def _wish(rng: Random, slot: str, value: str, *, closes: bool) -> str:
    """A requirement after the request: a clause or, if the request may end there, a sentence."""
    if closes and rng.random() < 0.3:
        return f". {_sentence(rng, slot, value)}"
    return rng.choice(wording.WISHES[slot]).replace("{v}", value)


def _sentence(rng: Random, slot: str, value: str) -> str:
    return rng.choice(wording.SENTENCES[slot]).replace("{v}", value)


def _in_clauses(rng: Random, drawn: Query) -> str:
    """Every part separately, in any order: short clauses, or sentences after an opener."""
    shown = drawn.shown
    slots = _shuffled(rng, list(shown))
    if rng.random() < 0.5:
        join = rng.choice((", ", ", ", "; ", " / ", "\n", " - "))
        parts = [rng.choice(wording.CLAUSES[slot]).replace("{v}", shown[slot]) for slot in slots]
        text = join.join(parts)
        return text if rng.random() < 0.6 else text[:1].upper() + text[1:]
    text = " ".join(f"{_sentence(rng, slot, shown[slot])}." for slot in slots)
    if rng.random() < 0.6:
        text = f"{fill(rng, rng.choice(wording.OPENERS), {})} {text}"
    return text if rng.random() < 0.7 else text.removesuffix(".")


def _labelled(rng: Random, drawn: Query) -> str:
    """A form: each part after its label, usually on a separate line."""
    join = rng.choice(("\n", "\n", "\n", "\n", "; ", " | ", " / ", ", "))
    sign = rng.choice((": ", ": ", ": ", ":", " = ", "=", " - ", " -> "))
    bullet = rng.choice(("", "", "", "- ", "* ")) if join == "\n" else ""
    letters = rng.choice((str, str, str.lower, str.upper))
    slots = _shuffled(rng, list(drawn.shown))
    if rng.random() < 0.4:
        slots = [slot for slot in "tcfol" if slot in drawn.shown]
    lines = [
        bullet + letters(rng.choice(wording.LABELS[slot])) + sign + drawn.shown[slot]
        for slot in slots
    ]
    head = fill(rng, rng.choice(wording.HEADS), {}) if rng.random() < 0.4 else ""
    return head + ("\n" if head and join == "\n" else " " if head else "") + join.join(lines)


def _as_sql(rng: Random, drawn: Query) -> str:
    """An SQL statement, perhaps with a request to run it."""
    shown = drawn.shown
    gap = rng.choice((" ", " ", " ", "\n"))
    words = (("f", "WHERE"), ("o", "ORDER BY"), ("l", "LIMIT"))
    parts = [f"SELECT {shown['c']}", f"FROM {shown['t']}"]
    parts += [f"{word} {shown[slot]}" for slot, word in words if slot in shown]
    if rng.random() < 0.35:
        parts = [part.replace(word, word.lower()) for part in parts for word in [_keyword(part)]]
    head = rng.choice(("", "", "Run this: ", "Please execute\n", "Query: ", "Do a ", "sql: "))
    return head + gap.join(parts) + rng.choice(("", "", ";", " please"))


def _keyword(part: str) -> str:
    return "ORDER BY" if part.startswith("ORDER BY") else part.partition(" ")[0]


def _bulleted(rng: Random, drawn: Query) -> str:
    """The columns as a list below the request, with requirements before or after them."""
    bullet = rng.choice(("- ", "- ", "* ", "• ", "", ""))
    block = "\n".join(bullet + column for column in drawn.columns)
    wishes = _shuffled(rng, [slot for slot in "fol" if slot in drawn.shown])
    said = "".join(f"{_sentence(rng, slot, drawn.shown[slot])}.\n" for slot in wishes)
    asked = rng.choice(wording.ABOVE_A_LIST).replace("{t}", drawn.shown["t"])
    if rng.random() < 0.5:
        return f"{said}{asked}\n{block}"
    return f"{asked}\n{block}\n\n{said}".rstrip("\n")
