#!/usr/bin/env bash
# openai npm 7.59.0 and openai Python 3.57.0 both offer chat.completions.stream(), which puts the message
# together. The members that they do not know, such as `reasoning` of vLLM, the Python package joins
# from all deltas, and the npm package replaces by those of the last delta. An agent that sends the
# message back, as the guide on function calling shows, returns the whole chain of thought with the
# one, and its last token with the other.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
cat >server.mjs <<'JS'
import { createServer } from "node:http";
const deltas = [
  { role: "assistant", content: "" },
  ..."The user asks for a sum.".split(/(?= )/).map((reasoning) => ({ reasoning })),
  { content: "It is" }, { content: " 42." },
];
const chunk = (delta, finish_reason = null) => ({ id: "c1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }] });
const body = [...deltas.map((delta) => chunk(delta)), chunk({}, "stop")].map((one) => `data: ${JSON.stringify(one)}\n\n`).join("") + "data: [DONE]\n\n";
const server = createServer((request, response) => {
  request.resume().on("end", () => response.writeHead(200, { "content-type": "text/event-stream" }).end(body));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
JS
node server.mjs >port &
server=$!
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check --quiet install openai==3.57.0 2>/dev/null
npm install --silent --no-audit --no-fund openai@7.59.0
url="http://127.0.0.1:$(cat port)/v1"
cat >client.mjs <<'JS'
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none" });
const stream = client.chat.completions.stream({ model: "m", messages: [{ role: "user", content: "17 + 25?" }] });
const { content, reasoning } = (await stream.finalChatCompletion()).choices[0].message;
console.log(JSON.stringify({ content, reasoning }));
JS
cat >client.py <<'PY'
import json, sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key="none")
with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "17 + 25?"}]) as stream:
    message = stream.get_final_completion().choices[0].message
print(json.dumps({"content": message.content, "reasoning": message.reasoning}, separators=(",", ":")))
PY
of_python=$(venv/bin/python client.py "$url")
of_npm=$(node client.mjs "$url")
printf 'openai Python 3.57.0: %s\nopenai npm 7.59.0:    %s\n' "$of_python" "$of_npm"
# Seen on 2026-11-29:
[ "$of_python" = '{"content":"It is 42.","reasoning":"The user asks for a sum."}' ]
[ "$of_npm" = '{"content":"It is 42.","reasoning":" sum."}' ]
