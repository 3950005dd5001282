"""Reading JSONL and CSV files row by row, each row with the place it stands at."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ConfigurationError
from harness.text import strict_json

_LONGEST_FIELD = 2**31 - 1


@dataclass(frozen=True)
class RawRow:
    """A row before its columns are looked at; `place` is for messages, as in "x.csv line 7"."""

    place: str
    values: Mapping[str, Any]


def read_file(path: Path, name: str | None = None) -> tuple[RawRow, ...]:
    """The rows of a `.jsonl` or `.csv` file; `name` is what to call it, other than its path.

    Raises:
        ConfigurationError: If the file is missing, unreadable or of another kind, or a line of it
            is not what the kind promises.
    """
    readers = {".jsonl": parse_jsonl, ".csv": parse_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigurationError(f"{path} is neither a .jsonl nor a .csv file.")
    try:
        # newline="" keeps what csv needs to see: line ends inside quoted fields.
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        raise ConfigurationError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None
    return tuple(reader(text, name or str(path)))


def parse_jsonl(text: str, name: str) -> Iterator[RawRow]:
    """One JSON object a line; empty lines count as lines but are no rows.

    Raises:
        ConfigurationError: If a line is not a JSON object; says which.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{name} line {number}"
        try:
            row = strict_json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{place} is not JSON: {error}.") from None
        if not isinstance(row, dict):
            raise ConfigurationError(f"{place} is not a JSON object.")
        yield RawRow(place, row)


def parse_csv(text: str, name: str) -> Iterator[RawRow]:
    """Rows under a line of column names; a row's place is the line it begins at.

    Raises:
        ConfigurationError: If a row has more or fewer fields than there are columns, or a quoted
            field is not closed; says where.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    begins = 1
    try:
        for fields in reader:
            place = f"{name} line {begins}"
            begins = reader.line_num + 1
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
        raise ConfigurationError(f"{name} line {begins} is not CSV: {error}.") from None
