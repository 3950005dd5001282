"""Requests to read rows of a table."""

from __future__ import annotations

from random import Random
from typing import Any

from reference_engine.harmony.conversation import FunctionTool
from reference_engine.small.data import words
from reference_engine.small.data.phrases import fill, listed, quoted, template
from reference_engine.small.data.spans import copy
from reference_engine.small.data.task import Ask, parameter_names


def _column(rng: Random) -> str:
    return rng.choice(_COLUMNS) if rng.random() < 0.15 else words.identifier(rng)


def _condition(rng: Random) -> tuple[str, str]:
    """A condition as shown and as it must be written."""
    column = _column(rng)
    if rng.random() < 0.4:
        sign = rng.choice((">", "<", "=", ">=", "<=", "!="))
        text = f"{column} {sign} {words.number_text(rng)}"
        return text, copy(text)
    if rng.random() < 0.25:
        said, sign = rng.choice(_COMPARISONS)
        number = words.number_text(rng)
        return f"{column} {said} {number}", f"{copy(column)} {sign} {copy(number)}"
    value = rng.choice((words.word, words.capital, words.nonce))(rng)
    if rng.random() < 0.6:
        text = f"{column} = '{value}'"
        return text, copy(text)
    return f"{column} is '{value}'", f"{copy(column)} = '{copy(value)}'"


_COMPARISONS = (
    ("is above", ">"), ("is over", ">"), ("is greater than", ">"), ("is more than", ">"),
    ("is below", "<"), ("is under", "<"), ("is less than", "<"), ("equals", "="), ("is", "="),
    ("exceeds", ">"), ("is larger than", ">"), ("is higher than", ">"), ("is lower than", "<"),
    ("is smaller than", "<"), ("above", ">"), ("over", ">"), ("below", "<"), ("under", "<"),
    ("is at least", ">="), ("is at most", "<="), ("is not", "!="), ("greater than", ">"),
)  # fmt: skip
_TABLES = (
    "order", "orders", "limit", "columns", "filter", "table", "rows", "data", "users", "weather",
    "weather_log", "temperatures", "languages", "services", "charts", "pages", "cities", "server",
    "uptime", "translations", "documents", "status_history", "rainfall", "backups", "notes_md",
)  # fmt: skip
_COLUMNS = (
    "temperature", "rain", "wind", "degrees", "city", "place", "language", "text", "html", "title",
    "status", "uptime", "state", "chart", "points", "limit", "order", "filter", "unit", "humidity",
    "health", "location", "markdown", "fahrenheit", "table", "condition", "value", "name", "date",
)  # fmt: skip
"""Names that remind of another tool, or of another part of the request."""


_WHERE = (
    " where {v}", ", only where {v}", " with {v}", ", condition {v}", " if {v}", ", filter: {v}",
    " filtered by {v}", ", filter {v}", " for which {v}", ", under the condition {v}",
    " whenever {v}", ", but only if {v}", ", given {v}", " such that {v}", ", where {v} holds",
    " matching {v}", ", restricted to {v}", " (where {v})", ", filter on {v}", " having {v}",
    ", provided that {v}", ". Condition: {v}", ", only rows with {v}", ", keep only {v}",
    ", for rows in which {v}", " WHERE {v}", ". Filter: {v}", ", as long as {v}",
)  # fmt: skip
_SORTED = (
    " sorted by {v}", ", ordered by {v}", " order by {v}", ", sort by {v}", " in order of {v}",
    ", arranged by {v}", ", sorting by {v}", " by {v}", ", by {v}", " (sorted by {v})",
    ", sorted on {v}", " ORDER BY {v}", ". Sort by {v}", ". Order: {v}", ", ranked by {v}",
    ", in {v} order", ", the order being {v}", ". Sorted by {v}", ", order them by {v}",
)  # fmt: skip
_LIMITED = (
    ", at most {v} rows", " limit {v}", ", limit {v}", ", first {v} rows", ", no more than {v}",
    ", just {v} of them", ", max {v}", ". Only {v} rows", ", {v} rows", ", top {v}", ", {v} only",
    ", maximum {v}", ", up to {v} rows", " ({v} rows)", ", not more than {v} rows", ", {v} will do",
    ", capped at {v}", ", the first {v}", ", no more than {v} rows", ". {v} rows are enough",
    ", stop after {v}", " LIMIT {v}", ", a maximum of {v}", ", only {v} results", ", {v} entries",
    ", {v} lines at most", ". Limit: {v}", ", row limit {v}", ". Give me {v} rows",
)  # fmt: skip


def _extras(rng: Random, columns: list[str], names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Perhaps a condition, an order and a limit: in words, and as arguments."""
    values: dict[str, Any] = {}
    extra = ""
    if rng.random() < 0.35:
        shown, written = _condition(rng)
        values["filters" if "filters" in names else "filter"] = written
        extra += rng.choice(_WHERE).replace("{v}", quoted(rng, shown, 0.2))
    if rng.random() < 0.35:
        column = rng.choice((*columns, *columns, _column(rng)))
        values["order_by"] = copy(column)
        extra += rng.choice(_SORTED).replace("{v}", quoted(rng, column, 0.1))
    if rng.random() < 0.35:
        limit = rng.choice((rng.randint(1, 20), rng.randint(1, 100), rng.randint(1, 1000)))
        values["limit"] = limit
        extra += rng.choice(_LIMITED).replace("{v}", str(limit))
    return extra, values


def query(rng: Random, tool: FunctionTool) -> Ask:
    """Columns of a table, perhaps with a condition, an order or a limit."""
    asked = template(
        rng,
        "query_table",
        verbs=(
            "read {c} from {t}{e}", "select {c} from the table {t}{e}",
            "list {c} of the {t} table{e}",
            "get {c} out of {t}{e}", "look up {c} in {t}{e}", "query {t} for {c}{e}",
            "pull {c} from the {t} table{e}", "load the columns {c} of {t}{e}",
            "show {c} from the {t} table{e}", "fetch {c} of {t}{e}",
            "extract {c} from table {t}{e}", "give me {c} in {t}{e}", "take {c} from {t}{e}",
            "return {c} from table {t}{e}", "search the table {t} for {c}{e}",
            "run a query on {t} for {c}{e}", "open the table {t} and print {c}{e}",
        ),
        nouns=(
            "{c} from {t}{e}", "the {c} columns of {t}{e}", "{c} of table {t}{e}",
            "rows of {t} with {c}{e}", "the columns {c} in the {t} table{e}",
            "columns {c} out of table {t}{e}", "all {c} in {t}{e}", "data from {t}: {c}{e}",
            "the values of {c} from {t}{e}", "a query of {t} with {c}{e}", "the {t} table's {c}{e}",
        ),
        questions=(
            "what {c} are in {t}{e}?", "which {c} does {t} have{e}?",
            "in the table {t}, what are {c}{e}?", "from {t} I want {c}{e}.",
            "table {t}, columns {c}{e}", "SELECT {c} FROM {t}{e}",
            "{w} {w} table {t} {w} columns {c}{e}", "{w} {w} columns {c} {w} table {t}{e}",
            "{w} {w} rows of {t}: {c}{e}", "{w} the {t} table: {w} {w} {c}{e}",
            "for the {w}: {c} from {t}{e}", "who {w} here? {c} out of {t}{e}",
            "the {w} wants {c} (table {t}){e}", "table {t}; columns {c}{e}",
            "in {t}, what {c} are stored{e}?", "{t}: {c}{e}", "could I see {c} of {t}{e}?",
            "from the database table {t}, {c}{e}", "database question: {c} in {t}{e}",
            "which {c} are listed in {t}{e}?", "table {t}. Columns: {c}{e}",
            "the table is {t}, the columns are {c}{e}", "with the table {t}: give {c}{e}",
            "table {t}, column names {c}{e}", "my database has {t}. I want its {c}{e}",
        ),
        tails=False,
    )  # fmt: skip
    columns = [words.identifier(rng) for _ in range(rng.choice((1, 2, 2, 2, 3, 3, 4)))]
    if rng.random() < 0.2:
        columns = words.some(rng, _COLUMNS, 1, 3)
    table = rng.choice(_TABLES) if rng.random() < 0.15 else words.identifier(rng)
    names = parameter_names(tool)
    values: dict[str, Any] = {"table": copy(table), "columns": [copy(c) for c in columns]}
    extra, more = _extras(rng, columns, names) if "{e}" in asked else ("", {})
    values |= more
    shown_table = table if _in_quotes(asked, "{t}") else quoted(rng, table, 0.2)
    text = fill(rng, asked, {"c": listed(rng, columns), "t": shown_table, "e": extra})
    return Ask(text, {name: values[name] for name in names if name in values})


def _in_quotes(template: str, slot: str) -> bool:
    before, _, after = template.partition(slot)
    return before[-1:] in {"`", "'", '"'} and after[:1] in {"`", "'", '"'}
