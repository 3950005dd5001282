#!/usr/bin/env bash
# langchain-openai 1.7.4 over the Responses API: the message that invoke() returns has the text of the
# reasoning item, and the next request sends it back. The chunks of stream(), added up as its
# documentation shows, have only the item as it was when it began: the next request sends a reasoning
# item without text whose status is in_progress. A server that renders the chain of thought of
# earlier calls, as gpt-oss needs it, gets it from agents that do not stream and loses it from those
# that do.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install \
    langchain-openai==1.7.4 openai==3.57.0 2>/dev/null
seen=$("$work/venv/bin/python" - 2>/dev/null <<'PY'
import json, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

COT = "I need the weather."
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": COT}], "status": "completed"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": "{}", "status": "completed"}
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [REASONING, CALL], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "temperature": 1, "top_p": 1,
  "usage": {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 2}}
BEGUN = RESPONSE | {"status": "in_progress", "output": []}
EVENTS = [
  {"type": "response.created", "response": BEGUN},
  {"type": "response.in_progress", "response": BEGUN},
  {"type": "response.output_item.added", "output_index": 0, "item": REASONING | {"content": [], "status": "in_progress"}},
  {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "item_id": "rs_1", "part": {"type": "reasoning_text", "text": ""}},
  {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "item_id": "rs_1", "delta": COT},
  {"type": "response.reasoning_text.done", "output_index": 0, "content_index": 0, "item_id": "rs_1", "text": COT},
  {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "item_id": "rs_1", "part": {"type": "reasoning_text", "text": COT}},
  {"type": "response.output_item.done", "output_index": 0, "item": REASONING},
  {"type": "response.output_item.added", "output_index": 1, "item": CALL | {"arguments": "", "status": "in_progress"}},
  {"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc_1", "delta": "{}"},
  {"type": "response.function_call_arguments.done", "output_index": 1, "item_id": "fc_1", "name": "weather", "arguments": "{}"},
  {"type": "response.output_item.done", "output_index": 1, "item": CALL},
  {"type": "response.completed", "response": RESPONSE},
]
STREAM = "".join(f"event: {e['type']}\ndata: {json.dumps(e | {'sequence_number': n})}\n\n" for n, e in enumerate(EVENTS))
sent = []
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        sent.append(body)
        text, kind = (STREAM, "text/event-stream") if body.get("stream") else (json.dumps(RESPONSE), "application/json")
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = ChatOpenAI(model="m", api_key="none", base_url=f"http://127.0.0.1:{server.server_port}/v1", use_responses_api=True)
def streamed(asked):
    first, *rest = model.stream(asked)
    return sum(rest, first)

history = [HumanMessage("Will it rain?")]
for name, ask in (("invoke", model.invoke), ("stream", streamed)):
    message = ask(history)
    ask([*history, message, ToolMessage("no", tool_call_id="call_1")])
    (returned,) = [item for item in sent[-1]["input"] if item.get("type") == "reasoning"]
    print(f"{name}: {json.dumps({key: returned[key] for key in ('content', 'status')})}")
PY
)
echo "$seen"
# Seen on 2026-11-29:
[ "$seen" = 'invoke: {"content": [{"text": "I need the weather.", "type": "reasoning_text"}], "status": "completed"}
stream: {"content": [], "status": "in_progress"}' ]
