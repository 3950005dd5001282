"""Rows of a dataset: read from JSONL and CSV files, validated, selected and identified.

Local files are not read with the `datasets` library, because its errors do not name the line.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import ConfigurationError, read_text
from harness.text import strict_json

_LONGEST_FIELD = 2**31 - 1


class DataRow(BaseModel):
    """A row of a dataset. It ignores columns without a field and strips white space."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        str_strip_whitespace=True,
        populate_by_name=True,
        coerce_numbers_to_str=True,
    )

    def content(self) -> object:
        """Return the content of the row as JSON values; it identifies the data."""
        return self.model_dump(mode="json")


T = TypeVar("T")
RowT = TypeVar("RowT", bound=DataRow)


@dataclass(frozen=True)
class RawRow:
    """A row before validation; `place` is for messages, such as "x.csv line 7"."""

    place: str
    values: Mapping[str, Any]


def questions_file(name: str) -> str:
    """Return the name of the file with the rows of an eval."""
    return f"questions-{name}.jsonl"


def validate_rows(raw: Iterable[RawRow], model: type[RowT]) -> tuple[RowT, ...]:
    """Return the rows as instances of `model`. Raises ConfigurationError."""
    rows: list[RowT] = []
    invalid: list[str] = []
    for row in raw:
        try:
            rows.append(model.model_validate(dict(row.values)))
        except ValidationError as error:
            invalid.append(f"{row.place}: {_reason(error)}")
    if invalid:
        more = f" ({len(invalid)} invalid rows in total)" if len(invalid) > 1 else ""
        raise ConfigurationError(f"{invalid[0]}{more}.")
    return tuple(rows)


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    column = ".".join(str(part) for part in first["loc"])
    return f"column {column!r}: {first['msg']}" if column else first["msg"]


def read_file(path: Path, name: str | None = None) -> tuple[RawRow, ...]:
    """Return the rows of a JSONL or CSV file, called `name` in messages.

    Raises ConfigurationError.
    """
    parse = {".jsonl": parse_jsonl, ".csv": parse_csv}.get(path.suffix.lower())
    if parse is None:
        raise ConfigurationError(f"{path} is neither a .jsonl nor a .csv file.")
    # newline="" keeps line ends inside quoted fields, as csv requires.
    return tuple(parse(read_text(path, "utf-8-sig", newline=""), name or str(path)))


def parse_jsonl(text: str, name: str) -> Iterator[RawRow]:
    """Yield one JSON object per line; empty lines are skipped. Raises ConfigurationError."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{name} line {number}"
        try:
            row = strict_json(line)
        except ValueError as error:
            raise ConfigurationError(f"{place} is not JSON: {error}.") from None
        if not isinstance(row, dict):
            raise ConfigurationError(f"{place} is not a JSON object.")
        yield RawRow(place, row)


def parse_csv(text: str, name: str) -> Iterator[RawRow]:
    """Yield the rows below a line of column names, with their line numbers.

    Raises ConfigurationError.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    start = 1
    try:
        for fields in reader:
            place = f"{name} line {start}"
            start = reader.line_num + 1
            if not fields:
                continue
            if columns is None:
                columns = fields
            elif len(fields) != len(columns):
                raise ConfigurationError(
                    f"{place} has {len(fields)} fields, but there are {len(columns)} columns."
                )
            else:
                yield RawRow(place, dict(zip(columns, fields, strict=True)))
    except csv.Error as error:
        raise ConfigurationError(f"{name} line {start} is not CSV: {error}.") from None


def select(items: Sequence[T], examples: int | None, seed: int) -> tuple[T, ...]:
    """Return the first `examples` items of a seeded shuffle, in their original order; all if None.

    The same seed selects the same items, and a larger number includes the items of a smaller one.
    Raises ConfigurationError.
    """
    if examples is None:
        return tuple(items)
    if not 1 <= examples <= len(items):
        raise ConfigurationError(f"--examples must be between 1 and {len(items)}, not {examples}.")
    order = list(range(len(items)))
    Random(seed).shuffle(order)  # noqa: S311 (not a secret)
    return tuple(items[index] for index in sorted(order[:examples]))


def canonical(value: object) -> str:
    """Return JSON with sorted keys, without spaces, and with only the necessary escapes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def rows_sha256(rows: Iterable[object]) -> str:
    """Return the hash of the rows in canonical JSON, one per line, independent of their order."""
    lines = sorted(canonical(row).encode("utf-8", "surrogatepass") for row in rows)
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def text_id(text: str) -> str:
    """Return a stable id for a row without one: the first 12 hex digits of the hash of its text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
