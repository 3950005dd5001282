// Conversations with a tool by real JavaScript clients, as python_clients.py has them.
//
//     node javascript_clients.mjs BASE_URL FAULT
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const [url, fault] = process.argv.slice(2);
const question = "What is the weather in Lisbon?";
const headers = { "X-Fault": fault };
const options = { baseURL: url, apiKey: "none", headers };
const client = new OpenAI({ ...options, maxRetries: 0, timeout: 60_000, defaultHeaders: headers });
const settings = { model: "gpt-oss-small", temperature: 0 };
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const fn = { name: "get_weather", description: "Get the weather.", parameters };
const greeting = "Hi there!";
let calls = [];

function getWeather({ city }) {
  calls.push(city);
  return `It is sunny in ${city}, 21 degrees.`;
}

async function chatHelper() {
  const read = async (content, tools) => {
    const stream = client.chat.completions.stream({ ...settings, messages: [{ role: "user", content }], ...tools });
    return (await stream.finalChatCompletion()).choices[0].message;
  };
  const { tool_calls } = await read(question, { tools: [{ type: "function", function: fn }] });
  for (const call of tool_calls ?? []) getWeather(JSON.parse(call.function.arguments));
  return (await read(greeting)).content;
}

async function responsesHelper() {
  const read = (input, tools) => client.responses.stream({ ...settings, input, ...tools }).finalResponse();
  const { output } = await read(question, { tools: [{ type: "function", ...fn, strict: false }] });
  for (const item of output) if (item.type === "function_call") getWeather(JSON.parse(item.arguments));
  return (await read(greeting)).output_text;
}

async function vercel(model, streaming) {
  const getTool = tool({ description: fn.description, inputSchema: z.object({ city: z.string() }), execute: getWeather });
  const given = { model, prompt: question, tools: { get_weather: getTool }, stopWhen: stepCountIs(3), temperature: 0, maxRetries: 0 };
  if (!streaming) return (await generateText(given)).text;
  let text = "";
  for await (const part of streamText({ ...given, onError: () => {} }).fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "start-step") text = "";
    if (part.type === "text-delta") text += part.text;
  }
  return text;
}

const uses = { "oai-js-stream chat streaming": chatHelper, "oai-js-stream responses streaming": responsesHelper };
const models = {
  "ai chat": createOpenAI(options).chat(settings.model),
  "ai responses": createOpenAI(options).responses(settings.model),
  "ai-compat chat": createOpenAICompatible({ ...options, name: "r", includeUsage: true }).chatModel(settings.model),
};
for (const [name, model] of Object.entries(models)) {
  uses[`${name} non-streaming`] = () => vercel(model, false);
  uses[`${name} streaming`] = () => vercel(model, true);
}
for (const [name, use] of Object.entries(uses)) {
  calls = [];
  let shown;
  try {
    shown = { text: ((await use()) ?? "").trim() };
  } catch (error) {
    shown = { error: `${error?.name}: ${error?.message}`.slice(0, 200) };
  }
  console.log(JSON.stringify([name, { calls, ...shown }]));
}
