#!/usr/bin/env bash
# @genkit-ai/compat-oai 1.42.0, Genkit's plugin for OpenAI-compatible servers: of a request with a
# tool, the description of the tool, toolChoice and maxOutputTokens are not sent, without a word. A
# temperature of 0.5 is sent, and one of 0 is not, nor is a topP of 0: members that are
# false in JavaScript are removed. A program that asks for greedy replies gets sampled ones, a
# program that requires a call gets a choice, and no reply has a limit.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund genkit@1.42.0 @genkit-ai/compat-oai@1.42.0 >/dev/null 2>&1
cat >ask.mjs <<'JS'
import { createServer } from "node:http";
import { openAICompatible } from "@genkit-ai/compat-oai";
import { genkit } from "genkit";

const reply = {
  id: "c1", object: "chat.completion", created: 1, model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "No." }, finish_reason: "stop" }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
};
const server = createServer(async (request, response) => {
  let text = "";
  for await (const piece of request) text += piece;
  const { messages, tools, ...options } = JSON.parse(text);
  console.log(JSON.stringify({ ...options, tool: Object.keys(tools[0].function) }));
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(reply));
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
const ai = genkit({ plugins: [openAICompatible({ name: "local", apiKey: "none", baseURL })] });
const rain = ai.defineTool({ name: "rain", description: "Tell whether it rains." }, async () => "no");
for (const value of [0.5, 0]) {
  const config = { temperature: value, topP: value, maxOutputTokens: 20 };
  await ai.generate({ model: "local/m", prompt: "Does it rain?", config, tools: [rain], toolChoice: "required" });
}
process.exit(0);
JS
seen=$(node ask.mjs 2>/dev/null)
echo "$seen"
# Seen on 2026-11-30:
[ "$seen" = '{"model":"m","temperature":0.5,"top_p":0.5,"tool":["name","parameters"]}
{"model":"m","tool":["name","parameters"]}' ]
