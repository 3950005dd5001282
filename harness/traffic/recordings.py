"""Recording files and the request/response pairs in them.

HAR files (http://www.softwareishard.com/blog/har-12-spec/), VCR cassettes, JSON and JSON Lines have
objects with a request and its response, at some depth; `SHAPES` lists the names of these members.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import yaml

from harness.api.fields import json_object, nested, objects
from harness.api.parsed_request import MESSAGE
from harness.api.responses import FINAL_EVENTS
from harness.errors import ConfigurationError, os_errors
from harness.providers.yaml_files import VALUE_ERRORS
from harness.run.run_folder import run_of
from harness.run.run_log import RUN_FILE
from harness.text import first_few
from harness.traffic.load_tests import load_test
from harness.traffic.spans import REFUSED, span

SUFFIXES = (".har", ".json", ".jsonl", ".ndjson", ".yaml", ".yml")
"""The files of a folder that are read."""

_DEEPEST = 20
_MOST_BYTES = 256 * 1000 * 1000  # of a file: reading takes four times as much memory
_MITMPROXY = re.compile(rb"\d+:\d+:[a-z_]+;")  # the beginning of a dump of flows
RECORD = (
    "record the bytes with a proxy: `mitmdump --mode reverse:URL --listen-port 8100 "
    "--set hardump=traffic.har`, point the client at it, and import traffic.har"
)
"""What to do if a file has no replies that can be judged."""
_FAILURES = ("error", "exception", "failure", "error_str")
"""The members of an entry that say why it has no response."""
_FINAL = frozenset({*FINAL_EVENTS, "error"})
# Files of known recorders that are not read, by a member of their objects: newman 6.2,
# mountebank 2.9, responses 0.26, requests-cache 1.3.
_UNREAD = {
    "collection": "a report of newman (Postman), which keeps bodies as lists of numbers",
    "imposters": "a file of mountebank, which keeps replies and patterns of requests",
    "responses": "a recording of responses (Python), which lacks the bodies of requests",
    "_decoded_content": "a reply that requests-cache decoded",
}
_OWN = frozenset({"exchanges", "condition", "attempt"})
"""The members of an attempt in the log of a run of this tool."""
_SENDS, _FRAMES = "send", "_webSocketMessages"


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
    Shape("scope", "response"),  # nock
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
class RecordedPair:
    """A request and its response as they are recorded."""

    file: str  # the name of the file
    number: int  # the place in the file, from 1
    members: Mapping[str, Any]  # with `request`, `response`, `client` (see `Shape`), perhaps times


@dataclass(frozen=True)
class Recordings:
    """The SHA-256 of each file by its name, all pairs, and what is not a pair, by reason.

    `left_out` is complete after the last pair.
    """

    files: Mapping[str, str]
    pairs: Iterator[RecordedPair]
    left_out: Counter[str]


class _File(NamedTuple):
    path: Path
    sha256: str
    entries: list[Mapping[str, Any]]  # pairs, lines of batches, and spans without a reply
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
    return Recordings(hashes, _pairs(files, left_out), left_out)


def _files(paths: Sequence[Path], left_out: Counter[str]) -> Iterator[_File]:
    for path in paths:
        if not path.is_dir():
            yield _file(path)
            continue
        read, refused = 0, f"{path} has no recordings ({', '.join(SUFFIXES)}); {RECORD}."
        for inner in sorted(path.rglob("*")):
            if (run := run_of(inner)) is not None:
                left_out["file of a run of this tool, which `recheck` judges"] += inner.is_file()
                refused = f"{path} has no recordings but runs of this tool; judge one with: "
                refused += f"gpt-oss-verify recheck {run}"
            elif inner.suffix in SUFFIXES:
                try:
                    yield _file(inner)
                    read += 1
                except ConfigurationError as error:
                    refused = str(error)
                    left_out["file without recorded requests"] += 1
        if not read:
            raise ConfigurationError(refused)


def _pairs(files: Sequence[_File], left_out: Counter[str]) -> Iterator[RecordedPair]:
    """Yield all pairs; a reply of a batch belongs to the request with its `custom_id`."""
    asked: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in (entry for file in files for entry in file.entries if BATCH in entry):
        if "response" not in entry and entry not in asked[str(entry[BATCH])]:
            asked[str(entry[BATCH])].append(entry)
    answered = set()
    for file in files:
        file.entries.reverse()
        for number in range(1, len(file.entries) + 1):
            entry = file.entries.pop()  # its bodies are as large as the exchange made of it
            if REFUSED in entry:
                left_out[entry[REFUSED]] += 1
            elif "request" in entry:
                yield RecordedPair(file.path.name, number, entry)
            elif "response" in entry:
                requests = asked.get(str(entry[BATCH]), [])
                answered.add(str(entry[BATCH]))
                if len(requests) == 1:
                    pair = {**entry, "request": requests[0], "client": False}
                    yield RecordedPair(file.path.name, number, pair)
                else:
                    several = "several requests" if requests else "no request"
                    left_out[f"reply of a batch to {several} of these files"] += 1
    if unanswered := sum(len(requests) for name, requests in asked.items() if name not in answered):
        left_out["request of a batch without a reply in these files"] += unanswered


def _file(path: Path) -> _File:
    """Read one file. Raises ConfigurationError if it has no recorded requests."""
    with os_errors(ConfigurationError, f"{path} cannot be read"):
        size = path.stat().st_size
        raw = path.read_bytes() if size <= _MOST_BYTES else b""
    if size > _MOST_BYTES:
        raise ConfigurationError(
            f"{path} has {size / 1e6:,.0f} MB, and `import` reads files of at most "
            f"{_MOST_BYTES / 1e6:.0f} MB; record in several files, or split JSON Lines with "
            f"`split -C 200m --additional-suffix .jsonl {path.name} part-`, and pass all parts."
        )
    content = _parsed(raw, path)
    of_newman = isinstance(content, dict) and {"collection", "run"} <= content.keys()
    first = content[0] if isinstance(content, list) and content else content
    if isinstance(first, dict) and first.keys() >= _OWN:
        raise ConfigurationError(
            f"{path} is a log of a run of this tool, which is judged with all files of its folder "
            f"({RUN_FILE} and others): gpt-oss-verify recheck FOLDER"
        )
    listed = content if isinstance(content, list) else [] if of_newman else [content]
    lists = [list(_entries(item)) for item in listed]
    entries = [entry for within in lists for entry in within]
    refused = Counter(entry[REFUSED] for entry in entries if REFUSED in entry)
    if refused.total() == len(entries):
        counted = [f"{count} × {what}" for what, count in refused.items()]
        raise ConfigurationError(
            f"{path} has no recorded requests: it is {first_few(counted, 3) or _kind(content)}, "
            "and not a HAR file with entries, a VCR cassette, or objects with `request` and "
            f"`response`; {RECORD}."
        )
    return _File(path, hashlib.sha256(raw).hexdigest(), entries, lists.count([]))


def _kind(content: object) -> str:
    """Return what a file without pairs is, in a few words."""
    if isinstance(content, list):
        first = next((item for item in content if isinstance(item, dict)), None)
        return f"a list of {len(content)} values" + (f", such as {_kind(first)}" if first else "")
    if not isinstance(content, dict):
        return "a single value"
    names = [f"`{name}`" for name in content]
    listed = f"an object with {first_few(names, 5)}" if names else "an empty object"
    return next((what for name, what in _UNREAD.items() if name in content), listed)


def _entries(content: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the outermost pairs and lines of batches, at any depth of a recording."""
    if isinstance(content, dict) and _FRAMES in content:
        yield from _messages(content)
        return
    entry = _entry(content) if isinstance(content, dict) else None
    if entry is not None:
        yield entry
    elif isinstance(content, list | dict) and depth < _DEEPEST:
        for item in content.values() if isinstance(content, dict) else content:
            yield from _entries(item, depth + 1)


def _entry(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a pair with the names `request` and `response`, a line of a batch, a span, or None."""
    if (tested := load_test(entry)) is not None:
        return tested
    for shape in SHAPES:
        request, received = entry.get(shape.request), entry.get(shape.response)
        failed = isinstance(request, dict) and any(map(entry.get, _FAILURES))
        if shape.request in entry and (shape.response in entry or failed):
            if shape.client:
                request = {"body": _parameters(entry, shape)}
            elif shape.request == "scope":
                request = {**entry, "url": f"{request}{entry.get('path')}"}
                received = {**entry, "body": received, "headers": entry.get("rawHeaders")}
            return {**entry, "request": request, "response": received, "client": shape.client}
    if BATCH in entry and ("response" in entry or "body" in entry):
        return entry
    return span(entry)


def _messages(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield each request over a WebSocket with the messages of its response, in their order."""
    upgrade = {**entry["request"], "method": "GET"}
    upgrade["url"] = re.sub("^http", "ws", str(upgrade.get("url")))
    made: list[Mapping[str, Any]] = []
    answered = 0
    for message in objects(entry[_FRAMES]):
        data = message.get("data")
        content = json_object(data) if isinstance(data, str) else None
        if message.get("type") == _SENDS and nested(content, "type") == MESSAGE:
            response = {**entry["response"], "content": None, "messages": []}
            pair = {"request": {**upgrade, "body": content}, "response": response}
            made.append({**pair, "started_at": message.get("time"), "client": False})
        elif answered < len(made) and message.get("type") != _SENDS:
            made[answered]["response"]["messages"].append(str(data))
            answered += nested(content, "type") in _FINAL
    yield from made or [{**entry, "client": False}]


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
        problem, ends = f"line {error.lineno}: {error.msg}", error.pos >= len(error.doc) > 0
    values: list[object] = []
    for number, line in enumerate(BytesIO(text), start=1):
        try:
            values += [_compact(orjson.loads(line))] if line.strip() else []
        except orjson.JSONDecodeError as error:
            if ends and not values:
                raise ConfigurationError(
                    f"{path} is cut off: its JSON ends in {problem}; let the recorder finish the "
                    "file (stop it with Ctrl-C), and import it again."
                ) from None
            problem = f"line {number}: {error.msg}" if values else problem
            raise ConfigurationError(
                f"{path} is not a recording: `import` reads HAR files, VCR cassettes (.yaml), JSON "
                f"and JSON Lines, and this file is not JSON ({problem}); {RECORD}."
            ) from None
    return values


def _compact(value: object) -> object:
    """Return a line of a load tester as a pair, which takes a third of the memory of its events."""
    pair = load_test(value) if isinstance(value, dict) else None
    return value if pair is None or REFUSED in pair else pair


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
