#!/usr/bin/env bash
# inspect_ai 0.3.285: with `fail_on_error=False` a sample whose request is refused leaves the denominator
# of the accuracy, and the log's status is "success": a server that refuses half of the questions
# scores 100%. With `score_on_error=True` these samples are scored, as wrong.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install \
    inspect_ai==0.3.285 openai==3.57.0
cd "$work"
seen=$("$work/venv/bin/python" - 2>log <<'PY'
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


class HalfOfTheQuestions(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = "long" in json.dumps(body["messages"])
        message = {"role": "assistant", "content": "It is 4."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        error = {"message": "This is not supported.", "type": "invalid_request_error"}
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        whole = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
        reply = json.dumps({"error": error} if refused else {**whole, "choices": [choice]}).encode()
        self.send_response(400 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), HalfOfTheQuestions)
Thread(target=server.serve_forever, daemon=True).start()
os.environ["LOCAL_API_KEY"] = "none"
os.environ["LOCAL_BASE_URL"] = f"http://127.0.0.1:{server.server_port}/v1"
kinds = ("short", "long")
questions = [Sample(input=f"{kind} question {n}", target="4") for kind in kinds for n in range(3)]
for more in ({}, {"score_on_error": True}):
    task = Task(dataset=questions, solver=generate(), scorer=includes())
    options = {"fail_on_error": False, "display": "none", "log_dir": "logs", **more}
    (log,) = eval(task, model="openai-api/local/m", **options)
    accuracy = log.results.scores[0].metrics["accuracy"].value if log.results else None
    errors = sum(sample.error is not None for sample in log.samples)
    print(f"{more}: {log.status}, accuracy {accuracy}, {errors} of {len(log.samples)} with an error")
PY
) || { cat log >&2; exit 1; }
echo "$seen"
# Seen on 2026-11-29:
[ "$seen" = "{}: success, accuracy 1.0, 3 of 6 with an error
{'score_on_error': True}: success, accuracy 0.5, 3 of 6 with an error" ]
