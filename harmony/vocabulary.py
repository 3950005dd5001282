"""Finds or downloads openai-harmony's vocabulary, `o200k_base.tiktoken`.

The sources, in this order: the folder in `TIKTOKEN_ENCODINGS_BASE`, the cache, an installed
`litellm` (its wheel contains the file), OpenAI's public address, and a `litellm` wheel from the
package index. The SHA-256 of the file must match the known one.
"""

import binascii
import hashlib
import http.client
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import openai_harmony as oh
import platformdirs

FILE_NAME = "o200k_base.tiktoken"
SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
PUBLIC_URL = f"https://openaipublic.blob.core.windows.net/encodings/{FILE_NAME}"
FOLDER_VARIABLE = "TIKTOKEN_ENCODINGS_BASE"
WHEEL = "litellm==1.83.14"
WHEEL_MEMBER = "litellm/litellm_core_utils/tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790"

_CONNECT_SECONDS = 4.0
_DOWNLOAD_SECONDS = 30.0
_PIP_SECONDS = 180.0
_SPECIAL = re.compile(r"<\|\w+\|>")
_loading = threading.Lock()


class VocabularyError(Exception):
    """No source has the vocabulary file."""


def harmony_encoding() -> oh.HarmonyEncoding:
    """Return the harmony encoding of gpt-oss, loaded once per process. Raises VocabularyError."""
    with _loading:
        return _load_encoding()


def encode(text: str) -> list[int]:
    """Return the tokens of a text with special tokens as text.

    The result is that of `allowed_special="all"`, which takes 1 ms to look up all 1,091 names.
    """
    named = set(_SPECIAL.findall(text))
    tokens: list[int] = harmony_encoding().encode(
        text, allowed_special=named, disallowed_special=()
    )
    return tokens


@cache
def token_bytes() -> tuple[bytes, ...]:
    """Return the bytes of every ordinary token, by its id. Special tokens have higher ids."""
    table: dict[int, bytes] = {}
    for line in vocabulary_file().read_bytes().splitlines():
        encoded, _, rank = line.partition(b" ")
        table[int(rank)] = binascii.a2b_base64(encoded)
    return tuple(table.get(token, b"") for token in range(max(table) + 1))


@cache
def bytes_of(token: int) -> bytes:
    """The bytes of a token, for a special token those of its name; empty for an unknown id."""
    table = token_bytes()
    if token < len(table):
        return table[token]
    try:
        name: str = harmony_encoding().decode([token])
    except oh.HarmonyError:
        return b""
    return name.encode()


def token_of(name: bytes) -> int | None:
    """The token with these bytes, or the special token with this name; None without a match."""
    found = token_ids().get(name)
    if found is None and name.startswith(b"<|"):
        ids = encode(name.decode("utf-8", "replace"))
        return ids[0] if len(ids) == 1 else None
    return found


@cache
def token_ids() -> Mapping[bytes, int]:
    """Return the id of every ordinary token, by its bytes."""
    return {data: token for token, data in enumerate(token_bytes()) if data}


def vocabulary_file() -> Path:
    """Return the path of a verified vocabulary, downloaded if necessary. Raises VocabularyError."""
    folders = [os.environ.get(FOLDER_VARIABLE), cache_folder()]
    for folder in folders:
        if folder and _is_vocabulary(path := Path(folder) / FILE_NAME):
            return path
    failures = []
    sources: dict[str, Callable[[], bytes]] = {
        "installed litellm": _from_installed_litellm,
        PUBLIC_URL: _from_public_address,
        f"pip download {WHEEL}": _from_wheel,
    }
    for source, read in sources.items():
        try:
            data = read()
        except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
            failures.append(f"{source}: {error or type(error).__name__}")
            continue
        if hashlib.sha256(data).hexdigest() == SHA256:
            return _put_into_cache(data)
        failures.append(f"{source}: not the expected file (SHA-256 differs)")
    raise VocabularyError(
        f"No source has {FILE_NAME} ({'; '.join(failures)}): put the file into a folder "
        f"and set {FOLDER_VARIABLE} to that folder."
    )


def cache_folder() -> Path:
    """Return the folder of downloaded vocabularies."""
    return Path(platformdirs.user_cache_dir("gpt-oss-verify", appauthor=False)) / "encodings"


@cache
def _load_encoding() -> oh.HarmonyEncoding:
    """Load while the library's environment variable points at our file, then restore it."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(vocabulary_file().parent)
    try:
        return oh.load_harmony_encoding(oh.HarmonyEncodingName.HARMONY_GPT_OSS)
    finally:
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before


def _is_vocabulary(path: Path) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    except OSError:
        return False


def _put_into_cache(data: bytes) -> Path:
    """Write to a temporary file and rename it, so that no process reads a partial file."""
    target = cache_folder() / FILE_NAME
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(partial, target)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise VocabularyError(
            f"{FILE_NAME} was downloaded but cannot be stored in {target.parent} "
            f"({error.strerror or error}): make that folder writable, or put the file into another "
            f"one and set {FOLDER_VARIABLE} to it."
        ) from error
    return target


def _from_installed_litellm() -> bytes:
    """Read the file from an installed litellm, without importing it."""
    try:
        distribution = importlib.metadata.distribution("litellm")
    except importlib.metadata.PackageNotFoundError:
        raise LookupError("not installed") from None
    return Path(str(distribution.locate_file(WHEEL_MEMBER))).read_bytes()


def _from_public_address() -> bytes:
    """Download with a deadline, in case a name server or proxy does not respond."""
    outcome: list[bytes | Exception] = []

    def download() -> None:
        try:
            with urllib.request.urlopen(PUBLIC_URL, timeout=_CONNECT_SECONDS) as reply:
                outcome.append(reply.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            outcome.append(error)

    worker = threading.Thread(target=download, daemon=True)
    worker.start()
    worker.join(_DOWNLOAD_SECONDS)
    if not outcome:
        raise TimeoutError(f"no answer within {_DOWNLOAD_SECONDS:.0f} s")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _from_wheel() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--no-input", "--disable-pip-version-check"]
        command += ["--retries", "1", "--timeout", "10", "--dest", folder, WHEEL]
        try:
            run = subprocess.run(  # noqa: S603 - our own command, and no shell
                command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"no wheel within {_PIP_SECONDS:.0f} s") from None
        wheels = list(Path(folder).glob("*.whl"))
        if run.returncode != 0 or not wheels:
            lines = run.stderr.strip().splitlines() or ["no wheel was saved"]
            raise LookupError(lines[-1])
        try:
            with zipfile.ZipFile(wheels[0]) as archive:
                return archive.read(WHEEL_MEMBER)
        except (zipfile.BadZipFile, KeyError):
            raise LookupError(f"{wheels[0].name} does not contain the file") from None
