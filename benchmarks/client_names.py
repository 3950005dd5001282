"""What clients make of the name of a model: their requests for `gpt-oss-20b` and other names of it.

    python benchmarks/client_names.py [--work DIR]

Installs the clients, pinned, and serves them one answer. Prints a Markdown table with what differs
from the request for `gpt-oss-20b`; every client is given a temperature of 0.5, and multi-llm-ts an
effort.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from real_servers import called

NAMES = ("gpt-oss-20b", "openai/gpt-oss-20b", "o-gpt-oss-20b")
CHATLAS = """
import sys
from chatlas import ChatOpenAI, ChatOpenAICompletions
url, name, kind = sys.argv[1:]
chat = {"responses": ChatOpenAI, "chat": ChatOpenAICompletions}[kind](
    base_url=url, api_key="none", model=name)
chat.set_model_params(temperature=0.5)
chat.chat("Hi.", echo="none")
"""
MULTI_LLM = """
import { Message, igniteEngine } from 'multi-llm-ts';
const [url, name] = process.argv.slice(2);
const engine = igniteEngine('openai', { apiKey: 'none', baseURL: url });
const capabilities = engine.getModelCapabilities({ id: name });
const model = { ...engine.buildModel(name), capabilities };
const thread = [new Message('user', 'Hi.')];
await engine.complete(model, thread, { temperature: 0.5, reasoningEffort: 'low' });
"""
CLIENTS = {
    "chatlas 0.23.0, Responses": ("chatlas==0.23.0", CHATLAS, "responses"),
    "chatlas 0.23.0, Chat": ("chatlas==0.23.0", CHATLAS, "chat"),
    "multi-llm-ts 5.1.1": ("multi-llm-ts@5.1.1", MULTI_LLM, ""),
}
ANSWER = {"role": "assistant", "content": "Hello."}
CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-oss-20b",
    "choices": [{"index": 0, "message": ANSWER, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
}  # fmt: skip
Request = tuple[str, Mapping[str, Any]]
"""The path and the body."""


class Server(ThreadingHTTPServer):
    """Notes requests, and answers those of Chat Completions without a stream."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[Request] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server

    def do_POST(self) -> None:
        """Note the request and answer it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body))
        answered = self.path.endswith("/chat/completions") and not body.get("stream")
        data = json.dumps(CHAT if answered else {"error": {"message": "noted"}}).encode()
        self.send_response(200 if answered else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def command(work: Path, package: str, script: str) -> list[str]:
    """Install a client, unless it is; returns the command that runs the script."""
    folder = work / package.replace("/", "-")
    python = "==" in package
    file = folder / ("client.py" if python else "client.mjs")
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if python:
            called(sys.executable, "-m", "venv", "--clear", str(folder / "env"))
            called(f"{folder}/env/bin/python", "-m", "pip", "install", "-q", package, "openai")
        else:
            called(
                "npm", "install", "--loglevel=error", "--no-audit", f"--prefix={folder}", package
            )
    file.write_text(script, encoding="utf-8")
    return [f"{folder}/env/bin/python" if python else "node", str(file)]


def differences(plain: Request, other: Request) -> Iterator[str]:
    """What the second request has otherwise, except for the name."""
    if plain[0] != other[0]:
        yield f"path `{other[0]}`"
    before, after = ({**body, "model": ""} for _, body in (plain, other))
    for name in sorted({*before, *after}):
        if name not in after:
            yield f"no `{name}`"
        elif before.get(name) != after[name]:
            yield f"`{name}`: {json.dumps(after[name])[:80]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".real/names"))
    work = parser.parse_args().work.resolve()
    print("| client | name | differs from `gpt-oss-20b` |\n| --- | --- | --- |")
    for client, (package, script, kind) in CLIENTS.items():
        run = command(work, package, script)
        requests = []
        for name in NAMES:
            server = Server()
            url = f"http://127.0.0.1:{server.server_port}/v1"
            given = [*run, url, name, *filter(None, [kind])]
            subprocess.run(given, capture_output=True, timeout=120, check=False)
            server.shutdown()
            if not server.requests:
                print(f"{client} sent nothing for {name}", file=sys.stderr)
                return 2
            requests.append(server.requests[0])
        for name, request in zip(NAMES[1:], requests[1:], strict=True):
            found = "; ".join(differences(requests[0], request)) or "nothing"
            print(f"| {client} | `{name}` | {found} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
