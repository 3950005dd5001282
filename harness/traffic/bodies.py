"""Bodies in recordings: text, base64, binary, compressed, parsed, or lines. No I/O."""

import base64
import binascii
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from harness.records.rollouts import Lost, StreamPart

FRAMING: frozenset[Lost] = frozenset({"framing"})

# The members of an object that contain a body, or a piece of one, as text or bytes: HAR (`content`,
# `postData`), vcrpy, Ruby, req_llm.
_BYTES = ("base64_string", "b64")
_HOLDER = frozenset({
    *("string", *_BYTES, "decoded", "text", "encoding"),
    *("mimeType", "size", "compression", "comment", "params"),
})  # fmt: skip
_STREAM_FIELDS = ("data:", "event:", "id:", "retry:", ":")
_MOST_BYTES = 256 * 1024 * 1024
_GZIP, _ZLIB = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


class LeftOutError(Exception):
    """Why a pair is not imported, in a few words by which equal cases are counted."""


@dataclass(frozen=True)
class Body:
    """A recorded body: `text` as sent, or the `parts` of a stream; both None without a body."""

    text: str | None = None
    parts: tuple[StreamPart, ...] | None = None
    lost: frozenset[Lost] = frozenset()


def decoded(value: object) -> object:
    """A recorded body as text, or as JSON if it was recorded parsed. Raises LeftOutError."""
    if isinstance(value, dict) and value and value.keys() <= _HOLDER:
        if (content := _bytes(value)) is not None:
            return _text(content)
        inner = value.get("string", value.get("text"))
        if str(value.get("encoding")).lower() == "base64" and isinstance(inner, str):
            return _text(_base64(inner))
        return decoded(inner)
    if isinstance(value, dict) and "kind" in value and len(value) == 2:
        return decoded(next(held for name, held in value.items() if name != "kind"))
    if isinstance(value, list) and value:
        pieces = [_bytes(each) for each in value]
        whole = [piece for piece in pieces if piece is not None]
        return _text(b"".join(whole)) if len(whole) == len(value) else value
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, str) and value.startswith("\x1f\x8b"):
        return _text(value.encode("latin-1", "replace"))
    return value


def as_json(value: object) -> bytes:
    """A recorded value as JSON. Raises LeftOutError if JSON has no such values."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # Integers of more than 64 bits, half a surrogate pair, or a cycle in YAML.
        raise LeftOutError("body with values that JSON does not have") from None


def read_body(value: object, media_type: str) -> Body:
    """The body of a recorded response of this media type, or ''. Raises LeftOutError."""
    content = decoded(value)
    if content is None:
        return Body()
    if isinstance(content, str):
        return _of_text(content, media_type)
    try:
        lost = FRAMING | _lost_by_sdk(content)
        plain = _unwrapped(content)
    except RecursionError:
        raise LeftOutError("body that is nested too deeply") from None
    if isinstance(plain, list):
        return Body(parts=_parts(_blocks(plain)), lost=lost)
    return Body(text=as_json(plain).decode(), lost=lost)


def _of_text(text: str, media_type: str) -> Body:
    start = text.removeprefix("\ufeff").lstrip()
    if "event-stream" not in media_type and not start.startswith(_STREAM_FIELDS):
        return Body(text=text)
    normal = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\n\n" not in normal.strip() and normal.count("\ndata:"):
        return Body(parts=_parts(_blocks(normal.split("\n"))), lost=FRAMING)
    return Body(parts=_parts(block for block in normal.split("\n\n") if block.strip("\n")))


def _parts(blocks: Iterator[str]) -> tuple[StreamPart, ...]:
    return tuple(StreamPart(0.0, block.strip("\n")) for block in blocks)


def _blocks(entries: Sequence[object]) -> Iterator[str]:
    """The events of a stream that was recorded as a list of lines or of parsed events."""
    name = ""
    for entry in entries:
        if isinstance(entry, bytes):
            entry = entry.decode("utf-8", "replace")
        if isinstance(entry, str):
            line = entry.strip("\r\n")
            if line.startswith("event:") and "\n" not in line:
                name = f"{line}\n"
            elif line.startswith(_STREAM_FIELDS):
                yield name + line
                name = ""
            elif line.strip():
                yield f"data: {line}"
        elif isinstance(entry, dict) and isinstance(entry.get("data"), str):
            head = f"event: {entry['event']}\n" if entry.get("event") else ""
            yield f"{head}data: {entry['data']}"
        else:
            yield f"data: {as_json(entry).decode()}"


def _text(content: bytes) -> str:
    """Bytes as text, decompressed. Raises LeftOutError."""
    try:
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
        elif content.startswith(_ZLIB):
            content = zlib.decompress(content)
    except (OSError, EOFError, zlib.error):
        raise LeftOutError("compressed body that cannot be unpacked") from None
    if len(content) > _MOST_BYTES:
        raise LeftOutError("body of more than 256 MB")
    text = content.decode("utf-8", "replace")
    if "\x00" in text[:64]:
        raise LeftOutError("binary body (compressed with br or zstd?)")
    return text


def _bytes(value: object) -> bytes | None:
    """The bytes of a body, or a piece of one, recorded as base64; None for anything else."""
    if not isinstance(value, dict) or not value.keys() <= _HOLDER:
        return None
    encoded = next((value[name] for name in _BYTES if name in value), None)
    return None if encoded is None else _base64(encoded)


def _base64(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=False)
    except (binascii.Error, ValueError):
        raise LeftOutError("body that is not valid base64") from None


def _lost_by_sdk(value: object) -> frozenset[Lost]:
    """What SDK objects (`{"__type__": name, "__data__": object}`) do not preserve."""
    if isinstance(value, dict) and "__data__" in value:
        keeps = str(value.get("__type__")).startswith("openai.")
        return frozenset({"fields"} if keeps else {"fields", "extras"})
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return frozenset[Lost]().union(*map(_lost_by_sdk, inner))


def _unwrapped(value: object) -> object:
    if isinstance(value, dict):
        if "__data__" in value:
            return _unwrapped(value["__data__"])
        return {name: _unwrapped(inner) for name, inner in value.items()}
    return [_unwrapped(inner) for inner in value] if isinstance(value, list) else value


def headers_of(value: object) -> dict[str, str]:
    """Recorded headers: an object of texts or lists, or a list of objects or pairs."""
    found: dict[str, str] = {}
    pairs: list[tuple[object, object]] = []
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, Mapping) and "name" in each:
                pairs.append((each["name"], each.get("value")))
            elif isinstance(each, list | tuple) and len(each) == 2:
                pairs.append((each[0], each[1]))
    for name, held in pairs:
        texts = held if isinstance(held, list) else [held]
        joined = ", ".join(_header(each) for each in texts if each is not None)
        found[_header(name).lower()] = joined
    return found


def _header(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
