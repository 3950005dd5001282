"""Recording files and the request/response pairs in them.

HAR files (http://www.softwareishard.com/blog/har-12-spec/), VCR cassettes, JSON and JSON Lines have
objects with a request and its response, at some depth; `SHAPES` lists the names of these members.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import yaml

from harness.errors import ConfigurationError, os_errors
from harness.providers.yaml_files import VALUE_ERRORS

SUFFIXES = (".har", ".json", ".jsonl", ".ndjson", ".yaml", ".yml")
"""The files of a folder that are read."""

_DEEPEST = 20
_MITMPROXY = re.compile(rb"\d+:\d+:[a-z_]+;")  # the beginning of a dump of flows


class Shape(NamedTuple):
    """The members of an object that hold a request and its response.

    With `client`, both are objects of a client: the request has only messages or parameters, and
    the members `more` have others.
    """

    request: str
    response: str
    client: bool = False
    more: Sequence[str] = ()


SHAPES = (
    Shape("request", "response"),  # HAR, VCR, Inspect
    Shape("when", "then"),  # httpmock
    Shape("req", "res"),
    Shape("request_body", "response_body"),
    Shape("requestBody", "responseBody"),
    # LiteLLM and OpenHands
    Shape("messages", "response", True, ("model_parameters", "optional_params", "kwargs")),
    Shape("responses_create_params", "response", True),  # NeMo Gym
)
BATCH = "custom_id"
"""The member by which a line of a batch's output names that of its input."""


@dataclass(frozen=True)
class Pair:
    """A request and its response as they are recorded."""

    file: str  # the name of the file
    number: int  # the place in the file, from 1
    members: Mapping[str, Any]  # with `request`, `response`, `client` (see `Shape`), perhaps times


@dataclass(frozen=True)
class Recordings:
    """The SHA-256 of each file by its name, all pairs, and what is not a pair, by reason."""

    files: Mapping[str, str]
    pairs: Sequence[Pair]
    left_out: Counter[str]


class _File(NamedTuple):
    path: Path
    sha256: str
    entries: Sequence[Mapping[str, Any]]  # pairs, and the lines of batches
    others: int  # entries that are neither


def read_recordings(paths: Sequence[Path]) -> Recordings:
    """Read recordings; for a folder, all recordings in it and its subfolders.

    Raises ConfigurationError if a path cannot be read, is not a recording, or has no requests.
    """
    left_out: Counter[str] = Counter()
    files = list(_files(paths, left_out))
    if others := sum(file.others for file in files):
        left_out["entry without a request and its response"] = others
    hashes = {file.path.name: file.sha256 for file in files}
    return Recordings(hashes, list(_pairs(files, left_out)), left_out)


def _files(paths: Sequence[Path], left_out: Counter[str]) -> Iterator[_File]:
    for path in paths:
        if not path.is_dir():
            yield _file(path)
            continue
        read = 0
        for inner in sorted(path.rglob("*")):
            if inner.suffix in SUFFIXES:
                try:
                    yield _file(inner)
                    read += 1
                except ConfigurationError:
                    left_out["file without recorded requests"] += 1
        if not read:
            kinds = ", ".join(SUFFIXES)
            raise ConfigurationError(f"{path} and its subfolders have no recordings ({kinds}).")


def _pairs(files: Sequence[_File], left_out: Counter[str]) -> Iterator[Pair]:
    """Yield all pairs; a reply of a batch belongs to the request with its `custom_id`."""
    asked: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in (entry for file in files for entry in file.entries if "response" not in entry):
        if entry not in asked[str(entry[BATCH])]:
            asked[str(entry[BATCH])].append(entry)
    answered = set()
    for file in files:
        for number, entry in enumerate(file.entries, start=1):
            if "request" in entry:
                yield Pair(file.path.name, number, entry)
            elif "response" in entry:
                requests = asked.get(str(entry[BATCH]), [])
                answered.add(str(entry[BATCH]))
                if len(requests) == 1:
                    pair = {**entry, "request": requests[0], "client": False}
                    yield Pair(file.path.name, number, pair)
                else:
                    several = "several requests" if requests else "no request"
                    left_out[f"reply of a batch to {several} of these files"] += 1
    if unanswered := sum(len(requests) for name, requests in asked.items() if name not in answered):
        left_out["request of a batch without a reply in these files"] += unanswered


def _file(path: Path) -> _File:
    """Read one file. Raises ConfigurationError if it has no recorded requests."""
    with os_errors(ConfigurationError, f"{path} cannot be read"):
        raw = path.read_bytes()
    content = _parsed(raw, path)
    listed = content if isinstance(content, list) else [content]
    lists = [list(_entries(item)) for item in listed]
    entries = [entry for within in lists for entry in within]
    if not entries:
        raise ConfigurationError(
            f"{path} has no recorded requests: expected entries of a HAR file, interactions of a "
            "VCR cassette, or objects with `request` and `response`."
        )
    return _File(path, hashlib.sha256(raw).hexdigest(), entries, lists.count([]))


def _entries(content: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the outermost pairs and lines of batches, at any depth of a recording."""
    entry = _entry(content) if isinstance(content, dict) else None
    if entry is not None:
        yield entry
    elif isinstance(content, list | dict) and depth < _DEEPEST:
        for item in content.values() if isinstance(content, dict) else content:
            yield from _entries(item, depth + 1)


def _entry(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a pair with the names `request` and `response`, a line of a batch, or None."""
    for shape in SHAPES:
        if shape.request in entry and shape.response in entry:
            request, response = entry[shape.request], entry[shape.response]
            if shape.client:
                request = {"body": _parameters(entry, shape)}
            return {**entry, "request": request, "response": response, "client": shape.client}
    return entry if BATCH in entry and ("response" in entry or "body" in entry) else None


def _parameters(entry: Mapping[str, Any], shape: Shape) -> Mapping[str, Any]:
    """Return the body of a request that a client recorded; the client reads a stream as a whole."""
    sent = entry[shape.request]
    body = dict(sent) if isinstance(sent, dict) else {shape.request: sent}
    others = [entry.get(name) for name in shape.more]
    for members in ({name: entry.get(name) for name in ("model", "tools")}, *others):
        if isinstance(members, dict):
            body |= {name: value for name, value in members.items() if value is not None}
    return {name: value for name, value in body.items() if not name.startswith("stream")}


def _parsed(content: bytes, path: Path) -> object:
    """Return a file as one value, or as a list of its lines. Raises ConfigurationError."""
    text = content.removeprefix(b"\xef\xbb\xbf")
    if path.suffix in (".yaml", ".yml"):
        return _yaml(text, path)
    if _MITMPROXY.match(text):
        raise ConfigurationError(
            f"{path} is a dump of mitmproxy; convert it to HAR with "
            f"`mitmdump -nr {path.name} --set hardump={path.stem}.har`."
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        problem = f"line {error.lineno}: {error.msg}"
    values: list[object] = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        try:
            values += [orjson.loads(line)] if line.strip() else []
        except orjson.JSONDecodeError as error:
            problem = f"line {number}: {error.msg}" if values else problem
            raise ConfigurationError(
                f"{path} is not a recording: `import` reads HAR files, VCR cassettes (.yaml), JSON "
                f"and JSON Lines, and this file is not JSON ({problem})."
            ) from None
    return values


def _yaml(text: bytes, path: Path) -> object:
    try:
        documents = list(yaml.load_all(text, _Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigurationError(f"{path}{line} is not YAML: {problem}.") from None
    except VALUE_ERRORS as error:
        raise ConfigurationError(f"{path} has an invalid value: {error}.") from None
    return documents[0] if len(documents) == 1 else documents


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Also reads the tags that Ruby and older versions of vcrpy write; no code is run."""


def _untagged(loader: _Loader, _tag: str, node: yaml.Node) -> object:
    """Return a value with an unknown tag, without its type."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_constructor("!binary", yaml.SafeLoader.construct_yaml_binary)
_Loader.add_multi_constructor("!", _untagged)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _untagged)
_Loader.add_multi_constructor("tag:yaml.org,2002:ruby/", _untagged)
# Times stay text: a body that the recorder parsed has only JSON values.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)
