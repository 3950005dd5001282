#!/usr/bin/env bash
# ag2 1.2.1 over Chat Completions: the chain of thought of a complete reply is read from the member
# `reasoning` of the message, that of a stream from `reasoning_content` of the delta. A server that
# uses one name in both modes, as all do, has a chain of thought in one mode and none in the other,
# and nothing is raised. gpt-oss servers need `reasoning`: an agent that streams never shows it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install "ag2[openai]==1.2.1" 2>/dev/null
seen=$("$work/venv/bin/python" - 2>/dev/null <<'PY'
import asyncio, json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from ag2 import Agent, MemoryStream
from ag2.config import OpenAIConfig
from ag2.events import ModelReasoning

class Handler(BaseHTTPRequestHandler):
    name = ""
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = {"role": "assistant", "content": "No.", self.name: "Clouds are rare."}
        reply = {"id": "c1", "created": 1, "model": "m"}
        if body.get("stream"):
            choices = ({"delta": said, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"})
            chunks = [reply | {"object": "chat.completion.chunk", "choices": [c | {"index": 0}]} for c in choices]
            text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
            kind = "text/event-stream"
        else:
            choices = [{"index": 0, "message": said, "finish_reason": "stop"}]
            text = json.dumps(reply | {"object": "chat.completion", "choices": choices})
            kind = "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()

async def thoughts(streaming):
    config = OpenAIConfig(model="m", api_key="none", streaming=streaming, base_url=f"http://127.0.0.1:{server.server_port}/v1")
    stream = MemoryStream(persist_all=True)
    await Agent("agent", config=config).ask("Will it rain?", stream=stream)
    return sum(isinstance(event, ModelReasoning) for event in await stream.history.get_events())

for Handler.name in ("reasoning", "reasoning_content"):
    for streaming in (False, True):
        print(Handler.name, "stream" if streaming else "complete", asyncio.run(thoughts(streaming)))
PY
)
echo "$seen"
# Thoughts seen on 2026-11-30:
[ "$seen" = 'reasoning complete 1
reasoning stream 0
reasoning_content complete 0
reasoning_content stream 1' ]
