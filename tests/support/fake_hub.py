"""A small local Hugging Face hub: files at one revision, some of them gated."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import datasets
import huggingface_hub.constants as constants
import pytest


@contextmanager
def fake_hub(
    files: Mapping[str, str],
    gated: tuple[str, ...],
    cache: Path,
    patch: pytest.MonkeyPatch,
    *,
    listed: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[list[str]]:
    """Make the Hugging Face libraries use a local server and a separate cache.

    Args:
        files: Text by `<repository>/<file>`.
        gated: Repositories that answer as if the user had not accepted the terms.
        cache: The cache folder of the libraries.
        patch: Sets the address and the cache of the libraries.
        listed: Text whose hash the listing of a model gives instead of that of the file.

    Yields:
        The requests served so far, as `<method> <path>`.
    """
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            requests.append(f"{self.command} {self.path}")
            if self.path.startswith("/api/models/"):
                self._list()
                return
            repository, _, rest = _repository_path(self.path).partition("/resolve/")
            revision, _, file = rest.partition("/")
            body = files.get(f"{repository}/{file}", "").encode()
            status, headers, body = _file_reply(body, revision, gated=repository in gated)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def _list(self) -> None:
            owner, name, kind = f"{self.path.partition('?')[0]}///".split("/")[3:6]
            repository = f"{owner}/{name}"
            listing = _listing(repository, {**files, **listed})
            status, code = _listing_reply(known=bool(listing), gated=repository in gated)
            info = {"id": repository, "sha": "0" * 40, "siblings": listing}
            body = json.dumps(listing if kind == "tree" else info).encode()
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    try:
        yield requests
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def _repository_path(path: str) -> str:
    return path.removeprefix("/datasets").removeprefix("/")


def _listing(repository: str, files: Mapping[str, str]) -> list[dict[str, Any]]:
    """The files of a model, with their hashes; its safetensors are stored with LFS."""
    listed = []
    for name, text in files.items():
        if not name.startswith(f"{repository}/"):
            continue
        data = text.encode()
        path = name.removeprefix(f"{repository}/")
        blob = hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()
        entry = {"type": "file", "rfilename": path, "path": path, "size": len(data), "oid": blob}
        if name.endswith(".safetensors"):
            digest = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 134}
        listed.append(entry)
    return listed


def _file_reply(body: bytes, revision: str, *, gated: bool) -> tuple[int, dict[str, str], bytes]:
    if gated:
        return 403, {"X-Error-Code": "GatedRepo"}, b""
    if not body:
        return 404, {"X-Error-Code": "EntryNotFound"}, b""
    return 200, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": revision}, body


def _listing_reply(*, known: bool, gated: bool) -> tuple[int, str]:
    if gated:
        return 403, "GatedRepo"
    return (200, "") if known else (404, "RepoNotFound")
