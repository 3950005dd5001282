"""The questions of the evals: loaded from the hub, files or the shipped samples, and identified.

A published eval set is downloaded file by file at its pinned revision and then read by
`load_dataset`. Calling `load_dataset` with the name of a repository is not enough: when offline,
datasets 5.2 does not find the cache of single files, or returns the version that was cached last,
regardless of the revision. Local files are not read with the `datasets` library, because its errors
do not name the line.
"""

import csv
import hashlib
import io
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from evals.identity import fingerprint, identify, published_ids
from harmony.extras import install_command
from harness.errors import ConfigurationError, read_text
from harness.records.record import Record
from harness.records.runs import DataIdentity, DatasetInfo
from harness.text import first_few, strict_json

MOST_BAD_ROWS = 50  # different reasons that are named
_MOST_PLACES = 20  # rows of one reason
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

    def meaning(self) -> object:
        """Return the texts that make it the question that it is."""
        return self.content()

    @property
    def fingerprint(self) -> str:
        """The hash of `meaning`."""
        return fingerprint(self.meaning())


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
    invalid: dict[str, list[str]] = defaultdict(list)  # the places by what is wrong there
    for row in raw:
        try:
            rows.append(model.model_validate(dict(row.values)))
        except ValidationError as error:
            invalid[_reasons(error, row)].append(row.place)
    refuse_rows(invalid)
    return tuple(rows)


def refuse_rows(invalid: Mapping[str, Sequence[str]]) -> None:
    """Raise ConfigurationError if rows are invalid; `invalid` has their places by the reason."""
    if not invalid:
        return
    count = sum(map(len, invalid.values()))
    reasons = [f"{first_few(places, _MOST_PLACES)}: {why}" for why, places in invalid.items()]
    many = f"{count} invalid rows: " if count > 1 else ""
    raise ConfigurationError(f"{many}{first_few(reasons, MOST_BAD_ROWS, '; ')}.")


def _reasons(error: ValidationError, row: RawRow) -> str:
    """Return everything that is wrong with a row; with missing columns, those that it has."""
    details = error.errors(include_url=False)
    missing = [_column(detail) for detail in details if detail["type"] == "missing"]
    reasons = [_reason(detail) for detail in details if detail["type"] != "missing"]
    if missing:
        has = ", ".join(map(repr, row.values))
        reasons.insert(0, f"without column {' and '.join(missing)}; its columns are {has}")
    return ", ".join(reasons)


def _column(detail: ErrorDetails) -> str:
    return repr(".".join(str(part) for part in detail["loc"]))


def _reason(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    return f"column {_column(detail)}: {message}" if detail["loc"] else message


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
    invalid: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{name} line {number}"
        try:
            row = strict_json(line)
        except ValueError as error:
            invalid[f"not JSON: {error}"].append(place)
            continue
        if isinstance(row, dict):
            yield RawRow(place, row)
        else:
            invalid["not a JSON object"].append(place)
    refuse_rows(invalid)


def parse_csv(text: str, name: str) -> Iterator[RawRow]:
    """Yield the rows below a line of column names, with their line numbers.

    Raises ConfigurationError.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    invalid: dict[str, list[str]] = defaultdict(list)
    start = 1
    try:
        for fields in reader:
            place = f"{name} line {start}"
            start = reader.line_num + 1
            if not fields:
                continue
            if columns is None:
                _refuse_other_separators(fields, place)
                columns = fields
            elif len(fields) != len(columns):
                why = f"{len(fields)} fields, but there are {len(columns)} columns"
                invalid[why].append(place)
            else:
                yield RawRow(place, dict(zip(columns, fields, strict=True)))
    except csv.Error as error:
        raise ConfigurationError(f"{name} line {start} is not CSV: {error}.") from None
    refuse_rows(invalid)


def _refuse_other_separators(names: Sequence[str], place: str) -> None:
    """Refuse column names that something else than commas separates."""
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in names[0]:
            raise ConfigurationError(
                f"{place} separates its columns with {called}: save the file with commas instead."
            )


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


def rows_sha256(rows: Iterable[object]) -> str:
    """Return the hash of the rows in canonical JSON, one per line, independent of their order.

    It has sorted keys, no spaces, and only the necessary escapes.
    """
    canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
    lines = sorted(canonical(row).encode("utf-8", "surrogatepass") for row in rows)
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def text_id(text: str) -> str:
    """Return a stable id for a row without one: the first 12 hex digits of the hash of its text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class PublishedDataset(Record):
    """One published dataset, of the eval `name` in `folder`.

    `rows` is the number of rows in all `files`. `sample` is a shipped file with rows in the same
    columns. `known` has SHA-256 sums of published files, to recognize local copies.
    """

    name: str
    folder: str
    repository: str
    revision: str
    files: tuple[str, ...]
    rows: int
    sample: str
    gated: bool = False
    known: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The web page of the dataset."""
        return f"https://huggingface.co/datasets/{self.repository}"


DataSource: TypeAlias = str | Path
"""The source of rows.

`hub`: the published files at their pinned revision. `samples`: the rows that ship with the tool.
`hf:NAME` or `hf:NAME@REVISION`: another dataset on the hub. Any other string is a path: a JSONL or
CSV file, or a folder with the published files. The rows must have the published dataset's columns.
"""

HUB_PREFIX = "hf:"


@dataclass(frozen=True)
class Loaded(Generic[RowT]):
    """The rows of a dataset and their origin; `code` is the source of its scorer, if it has one."""

    rows: tuple[RowT, ...]
    info: DatasetInfo
    code: str = ""

    def by_id(self, ids: Sequence[str]) -> dict[str, RowT]:
        """Return the rows by these ids, in order. Raises ConfigurationError if two are equal."""
        if len(set(ids)) < len(ids):
            twice = next(name for name in ids if ids.count(name) > 1)
            raise ConfigurationError(f"{self.info.source} contains the question {twice} twice.")
        return dict(zip(ids, self.rows, strict=True))


def load_rows(dataset: PublishedDataset, source: DataSource, model: type[RowT]) -> Loaded[RowT]:
    """Load, validate and identify rows. Raises ConfigurationError."""
    raw, name, revision, genuine = _read(dataset, source, model)
    rows = validate_rows(raw, model)
    if not rows:
        raise ConfigurationError(f"{name} has no rows.")
    complete = len(rows) == dataset.rows
    if source == "hub" and not complete:
        raise ConfigurationError(
            f"{name} has {len(rows)} rows at revision {revision}, not {dataset.rows}: "
            "clear the cache of the Hugging Face libraries, or pass a local copy with --data."
        )
    identity: DataIdentity = "published" if complete else "part"
    if source == "samples":
        identity = "samples"
    elif not genuine:
        known = published_ids(dataset.folder, dataset.name)
        identity = identify([row.fingerprint for row in rows], known, dataset.rows)
    info = DatasetInfo(
        eval=dataset.name,
        source=name,
        revision=revision,
        rows=len(rows),
        sha256=rows_sha256(row.content() for row in rows),
        sample=identity != "published",
        identity=identity,
        gated=dataset.gated and identity != "samples",
    )
    return Loaded(rows, info)


def load_own_rows(name: str, source: str, model: type[RowT]) -> Loaded[RowT]:
    """Load and validate the rows of a user's own eval. Raises ConfigurationError."""
    rows = validate_rows(_own_rows(source), model)
    if not rows:
        raise ConfigurationError(f"{source} has no rows.")
    digest = rows_sha256(row.content() for row in rows)
    return Loaded(rows, DatasetInfo(eval=name, source=source, rows=len(rows), sha256=digest))


def _own_rows(source: str) -> tuple[RawRow, ...]:
    if not source.startswith(HUB_PREFIX):
        return read_file(Path(source))
    name, _, revision = source.removeprefix(HUB_PREFIX).partition("@")
    return _named_rows(name, revision or None)


def _read(
    dataset: PublishedDataset, source: DataSource, model: type[DataRow]
) -> tuple[Iterable[RawRow], str, str | None, bool]:
    """Return rows before validation, and the name and revision of their origin.

    The last value is whether they are known to be published, by the revision or by SHA-256 sums.
    """
    if source == "hub":
        library = _library(dataset.name)
        files = (_file_rows(library, dataset, file, model) for file in dataset.files)
        return chain.from_iterable(files), dataset.repository, dataset.revision, True
    if source == "samples":
        shipped = resources.files("evals") / dataset.folder / dataset.sample
        name = f"samples/{dataset.folder}{Path(dataset.sample).suffix}"
        with resources.as_file(shipped) as path:
            return read_file(path, name), name, None, False
    if isinstance(source, str) and source.startswith(HUB_PREFIX):
        name, _, revision = source.partition("@")
        return _own_rows(source), name, revision or None, False
    path = Path(source)
    paths = [path / file for file in dataset.files] if path.is_dir() else [path]
    rows = tuple(row for file in paths for row in read_file(file))
    sums = (hashlib.sha256(file.read_bytes()).hexdigest() for file in paths)
    genuine = all(checksum in dataset.known for checksum in sums)
    return rows, str(path), dataset.revision if genuine else None, genuine


SPLITS = ("test", "validation", "train")
"""The splits of a user's own dataset; the first one that exists is used."""

_LONGEST_REASON = 300


def _named_rows(name: str, revision: str | None) -> tuple[RawRow, ...]:
    """Return the rows of any dataset on the hub. Raises ConfigurationError."""
    library = _library(name)
    try:
        splits = library.load_dataset(name, revision=revision)
    except (OSError, ValueError, library.exceptions.DatasetsError) as error:
        raise ConfigurationError(
            f"The dataset {name} could not be loaded ({_short(error)}): check its name and "
            "revision, the connection to huggingface.co, and HF_TOKEN if it is private or gated."
        ) from None
    split = next((split for split in SPLITS if split in splits), next(iter(splits)))
    places = (f"{name} {split} row {number}" for number in range(1, len(splits[split]) + 1))
    return tuple(map(RawRow, places, splits[split]))


def _file_rows(
    library: ModuleType, dataset: PublishedDataset, file: str, model: type[DataRow]
) -> Iterator[RawRow]:
    path = _download(dataset, file)
    kind, options = "json", dict[str, Any]()
    if path.suffix == ".csv":
        # By default pandas reads the answer "007" as 7, and "None" or "NA" as missing.
        columns = [field.alias or name for name, field in model.model_fields.items()]
        kind = "csv"
        options = {"converters": dict.fromkeys(columns, str), "keep_default_na": False}
    try:
        # Streaming reads the file directly, without a second copy in the cache.
        rows = library.load_dataset(
            kind, data_files=str(path), split="train", streaming=True, **options
        )
        values: Mapping[str, Any]
        for number, values in enumerate(rows, start=1):
            yield RawRow(f"{dataset.repository}/{file} row {number}", values)
    except (OSError, ValueError, library.exceptions.DatasetsError) as error:
        raise _unavailable(dataset, f"{path} cannot be read: {error}") from None


def _download(dataset: PublishedDataset, file: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = hf_hub_download(
            dataset.repository, file, repo_type="dataset", revision=dataset.revision
        )
    except LocalEntryNotFoundError:
        reason = f"{file} is not in the cache, and huggingface.co cannot be reached"
        raise _unavailable(dataset, reason) from None
    except Exception as error:  # noqa: BLE001 (its HTTP library depends on the release)
        raise _unavailable(dataset, str(error)) from None
    return Path(path)


def _library(name: str) -> ModuleType:
    try:
        import datasets
    except ImportError:
        raise ConfigurationError(
            f"{name} requires the Hugging Face datasets library, which is not installed. Use "
            f"--data or --samples, or install it with: {install_command('evals')}"
        ) from None
    library: ModuleType = datasets
    library.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return library


def _unavailable(dataset: PublishedDataset, reason: str) -> ConfigurationError:
    if dataset.gated:
        remedy = (
            f"accept its terms at {dataset.address} and set HF_TOKEN, or pass a local copy with "
            "--data"
        )
    else:
        remedy = (
            f"check the connection to huggingface.co, or download {' and '.join(dataset.files)} "
            f"from {dataset.address} and pass the folder with --data"
        )
    return ConfigurationError(f"{dataset.name} could not be loaded ({_short(reason)}): {remedy}.")


def _short(reason: object) -> str:
    return " ".join(str(reason).split())[:_LONGEST_REASON].rstrip(".")
