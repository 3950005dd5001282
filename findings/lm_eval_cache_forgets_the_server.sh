#!/usr/bin/env bash
# lm_eval 0.4.13: the key of `--use_cache` has the prompt and its settings, but neither the model nor
# the URL. A second server that is evaluated with the same cache gets no request: its score is
# that of the first one's replies.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install "lm_eval[api]==0.4.13"
cd "$work"
cat >questions.json <<'JSON'
[{"question": "One plus one?", "answer": "2"}, {"question": "One plus two?", "answer": "3"}]
JSON
cat >sums.yaml <<'YAML'
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: questions.json}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\n"], max_gen_toks: 8}
metric_list: [{metric: exact_match, aggregation: mean}]
YAML
export HF_HUB_OFFLINE=1 HF_HOME="$work/home"
seen=$("$work/venv/bin/python" - 2>log <<'PY'
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


def server(right):
    """Serve right answers, or the same wrong one; return the server and its requests."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(body)
            asked = body["messages"][-1]["content"]
            answer = {"One plus one?": "2", "One plus two?": "3"}[asked.strip()] if right else "7"
            message = {"role": "assistant", "content": answer}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            reply = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=running.serve_forever, daemon=True).start()
    return running, requests


def score(port, model, *more):
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    arguments = ["--model", "local-chat-completions", "--tasks", "sums", "--include_path", "."]
    arguments += ["--model_args", f"model={model},base_url={url},tokenizer_backend=None"]
    arguments += ["--apply_chat_template", "--output_path", model, *more]
    subprocess.run([sys.executable, "-m", "lm_eval", *arguments], check=True, stdout=sys.stderr)
    newest = max(Path(model).rglob("results*.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(newest.read_text())["results"]["sums"]["exact_match,none"]


for name, right in (("right", True), ("wrong", False), ("wrong-alone", False)):
    running, requests = server(right)
    cache = () if name == "wrong-alone" else ("--use_cache", "cache")
    result = score(running.server_port, name, *cache)
    print(f"{name}: score {result}, {len(requests)} requests")
PY
) || { cat log >&2; exit 1; }
echo "$seen"
# Seen on 2026-11-29:
[ "$seen" = "right: score 1.0, 2 requests
wrong: score 1.0, 0 requests
wrong-alone: score 0.0, 2 requests" ]
