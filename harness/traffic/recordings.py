"""Recording files and the request/response pairs in them.

Every format has objects with a `request` and a `response`, at some depth: entries of HAR files
(http://www.softwareishard.com/blog/har-12-spec/), interactions of VCR cassettes (YAML or JSON),
recordings of httpmock (`when` and `then`, one YAML document each), logs of Inspect, JSON Lines.
Text that contains requests and replies, such as a terminal session or an issue, is also read.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from harness.errors import ConfigurationError, os_errors
from harness.providers.yaml_files import VALUE_ERRORS

SUFFIXES = (".har", ".json", ".jsonl", ".ndjson", ".yaml", ".yml")
_DEEPEST = 20
_NAMES = (("request", "response"), ("when", "then"))
_DECODER = json.JSONDecoder(strict=False)
# Where an address, an event of a stream, or another JSON object may begin in a text.
_MARK = re.compile(
    r"(?P<url>https?://[^\s'\"`)]+/(?:chat/completions|responses)\b)"
    r"|^[>\s]*data:[ \t]*(?P<event>\{.*\}|\[DONE\])|\{",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Pair:
    """A request and its response as they are recorded."""

    file: str  # the name of the file
    number: int  # the place in the file, from 1
    members: Mapping[str, Any]  # with `request`, `response` and perhaps times


@dataclass(frozen=True)
class RecordingFile:
    """One file: its name, the SHA-256 of its bytes, and its pairs."""

    name: str
    sha256: str
    pairs: tuple[Pair, ...]


def read_recordings(paths: Sequence[Path]) -> Iterator[RecordingFile]:
    """Read recordings; for a folder, all recordings in it and its subfolders.

    Files of a folder without pairs are left out. Raises ConfigurationError if a path cannot
    be read, or a named file is not a recording.
    """
    for path in paths:
        if path.is_dir():
            files = [_within(each) for each in sorted(path.rglob("*")) if each.suffix in SUFFIXES]
            found = [file for file in files if file is not None]
            if not found:
                kinds = ", ".join(SUFFIXES)
                raise ConfigurationError(f"{path} and its subfolders have no recordings ({kinds}).")
            yield from found
        else:
            yield read_recording(path)


def read_recording(path: Path) -> RecordingFile:
    """Read one recording. Raises ConfigurationError."""
    with os_errors(ConfigurationError, f"{path} cannot be read"):
        content = path.read_bytes()
    pairs = [
        Pair(path.name, number, members)
        for number, members in enumerate(_pairs(_parsed(content, path)), start=1)
    ]
    if not pairs:
        raise ConfigurationError(
            f"{path} has no recorded requests: expected a HAR file, a VCR cassette, a recording of "
            "httpmock, objects with `request` and `response` as JSON or JSON Lines, or a text "
            "with the JSON of requests and replies."
        )
    return RecordingFile(path.name, hashlib.sha256(content).hexdigest(), tuple(pairs))


def _within(path: Path) -> RecordingFile | None:
    """A file of a folder; None if it is not a recording."""
    try:
        return read_recording(path)
    except ConfigurationError:
        return None


def _pairs(content: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The outermost pairs, at any depth of a recording."""
    pair = _pair(content)
    if pair is not None:
        yield pair
    elif isinstance(content, list | dict) and depth < _DEEPEST:
        for each in content.values() if isinstance(content, dict) else content:
            yield from _pairs(each, depth + 1)


def _pair(entry: object) -> Mapping[str, Any] | None:
    """An object with `request` and `response`, under any of their names; otherwise None."""
    for sent, received in _NAMES:
        if isinstance(entry, dict) and sent in entry and received in entry:
            return {**entry, "request": entry[sent], "response": entry[received]}
    return None


def _parsed(content: bytes, path: Path) -> object:
    text = content.removeprefix(b"\xef\xbb\xbf")
    if path.suffix in (".yaml", ".yml"):
        return _yaml(text, path)
    if path.suffix not in SUFFIXES:
        return _transcript(text.decode("utf-8", "replace"))
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not _is_json(lines[0]):
            raise ConfigurationError(f"{path} is not JSON: {error}.") from None
        return list(_lines(text.split(b"\n"), path))


def _lines(lines: Iterable[bytes], path: Path) -> Iterator[object]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise ConfigurationError(f"{path}, line {number} is not JSON: {error}.") from None


def _transcript(text: str) -> list[Mapping[str, Any]]:
    """The pairs in a text; a reply belongs to the last request above it."""
    pairs: list[Mapping[str, Any]] = []
    url: str | None = None
    request: Mapping[str, Any] | None = None
    events: list[str] | None = None  # of the stream at this place of the text
    end = 0
    for mark in _MARK.finditer(text):
        if mark.start() < end:
            continue
        if mark["url"]:
            url = mark["url"]
        elif mark["event"]:
            end = mark.end()
            if events is None:
                events = []
                pairs.append({"url": url, "request": request, "response": {"events": events}})
            events.append(f"data: {mark['event']}")
        else:
            value, end = _object(text, mark.start())
            if "model" in value and ("messages" in value or "input" in value):
                request, events = value, None
            elif "choices" in value or "output" in value:
                events = None
                pairs.append({"url": url, "request": request, "response": {"body": value}})
    return [each for each in pairs if each["request"] is not None]


def _object(text: str, start: int) -> tuple[Mapping[str, Any], int]:
    """The JSON object at a place of a text, and its end; an empty object without one."""
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return {}, start + 1


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


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


def _plain(loader: _Loader, _tag: str, node: yaml.Node) -> object:
    """A value with an unknown tag, without its type."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_constructor("!binary", yaml.SafeLoader.construct_yaml_binary)
_Loader.add_multi_constructor("!", _plain)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)
_Loader.add_multi_constructor("tag:yaml.org,2002:ruby/", _plain)
# Times stay text: a body that the recorder parsed has only JSON values.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)
