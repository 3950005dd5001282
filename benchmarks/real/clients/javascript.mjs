// A process of JavaScript clients: it has the conversations that it is told to have, as python.py does.
//
//     node javascript.mjs CLIENT …
import { AsyncLocalStorage } from "node:async_hooks";
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool as agentTool } from "@openai/agents";
import { createOpenAI } from "@ai-sdk/openai";
import { createGroq } from "@ai-sdk/groq";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createOpenResponses } from "@ai-sdk/open-responses";
import { constructLlmApi } from "@continuedev/openai-adapters";
import { complete } from "@earendil-works/pi-ai/compat";
import { openAICompatible } from "@genkit-ai/compat-oai";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { createOpenRouter } from "@openrouter/ai-sdk-provider";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { genkit, z as genkitZod } from "genkit";
import OpenAI from "openai";
import { z } from "zod";

const url = process.env.REAL_CLIENTS_URL;
const clients = process.argv.slice(2);
const question = "What is the weather in Lisbon?";
const model = "gpt-oss-small";
const schema = { location: { type: "string" }, unit: { type: "string" } };
const parameters = { type: "object", properties: schema, required: ["location"] };
const fn = { name: "get_weather", description: "Get the weather.", parameters };
const place = z.object({ location: z.string(), unit: z.string().nullish() });
const called = new AsyncLocalStorage(); // a use that raised may go on and call
let damage = "";

function getWeather({ location }) {
  called.getStore().push(location);
  return `It is sunny in ${location}, 21 degrees.`;
}

const options = () => ({ baseURL: url, apiKey: "none", headers: { "X-Damage": damage } });
const newClient = () => new OpenAI({ ...options(), maxRetries: 0, timeout: 30_000, defaultHeaders: { "X-Damage": damage } });

// `kept` makes what is sent back of what the SDK returned: a copy of its calls, or all of it.
async function chat(read, kept = ({ tool_calls }) => ({ role: "assistant", content: null, tool_calls })) {
  const messages = [{ role: "user", content: question }];
  for (let turn = 0; turn < 3; turn++) {
    const message = await read(newClient(), { model, messages, tools: [{ type: "function", function: fn }] });
    if (!message.tool_calls?.length) return message.content;
    messages.push(kept(message));
    for (const call of message.tool_calls) {
      messages.push({ role: "tool", tool_call_id: call.id, content: getWeather(JSON.parse(call.function.arguments)) });
    }
  }
  throw new Error("The conversation does not end.");
}

const chatWhole = async (client, body) => (await client.chat.completions.create(body)).choices[0].message;
const chatHelper = async (client, body) => (await client.chat.completions.stream(body).finalChatCompletion()).choices[0].message;

const chatStream = async (client, body) => inOne(await client.chat.completions.create({ ...body, stream: true }));

async function inOne(chunks) {
  const message = { content: "", tool_calls: [] };
  for await (const chunk of chunks) {
    const delta = chunk.choices[0]?.delta;
    message.content += delta?.content ?? "";
    for (const call of delta?.tool_calls ?? []) {
      if (!message.tool_calls[call.index]) message.tool_calls[call.index] = call;
      else message.tool_calls[call.index].function.arguments += call.function.arguments;
    }
  }
  return message;
}

// An adapter that sends the messages of its program.
const adapter = () => constructLlmApi({ provider: "openai", apiBase: url, apiKey: "none", requestOptions: { headers: { "X-Damage": damage } } });
const untilTheEnd = new AbortController().signal;
const adapterWhole = async (_, body) => (await adapter().chatCompletionNonStream({ ...body, stream: false }, untilTheEnd)).choices[0].message;
const adapterStream = (_, body) => inOne(adapter().chatCompletionStream({ ...body, stream: true }, untilTheEnd));

const copied = ({ call_id, name, arguments: given }) => ({ type: "function_call", call_id, name, arguments: given });

async function responses(read, kept = (output) => output.filter((item) => item.type === "function_call").map(copied)) {
  const input = [{ role: "user", content: question }];
  for (let turn = 0; turn < 3; turn++) {
    const { text, output } = await read(newClient(), { model, input, tools: [{ type: "function", ...fn, strict: false }] });
    const asked = output.filter((item) => item.type === "function_call");
    if (!asked.length) return text;
    input.push(...kept(output));
    for (const call of asked) input.push({ type: "function_call_output", call_id: call.call_id, output: getWeather(JSON.parse(call.arguments)) });
  }
  throw new Error("The conversation does not end.");
}

const read = ({ output_text, output }) => ({ text: output_text, output });
const responsesWhole = async (client, body) => read(await client.responses.create(body));
const responsesHelper = async (client, body) => read(await client.responses.stream(body).finalResponse());

async function responsesStream(client, body) {
  let text = "";
  const items = {};
  for await (const event of await client.responses.create({ ...body, stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
    else if (event.type === "response.output_item.added" && event.item.type === "function_call") items[event.output_index] = event.item;
    else if (event.type === "response.function_call_arguments.delta") items[event.output_index].arguments += event.delta;
    else if (event.type === "error" || event.type === "response.failed") throw new Error(event.type);
  }
  return { text, output: Object.values(items) };
}

async function vercel(chosen, streaming) {
  const getTool = tool({ description: fn.description, inputSchema: place, execute: getWeather });
  const given = { model: chosen, prompt: question, tools: { get_weather: getTool }, stopWhen: stepCountIs(3), maxRetries: 0 };
  if (!streaming) return (await generateText(given)).text;
  let text = "";
  for await (const part of streamText({ ...given, onError: () => {} }).fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "start-step") text = "";
    if (part.type === "text-delta") text += part.text;
  }
  return text;
}

async function agents(kind, stream) {
  const chosen = new kind(newClient(), model);
  const weather = agentTool({ name: fn.name, description: fn.description, parameters: place, execute: getWeather });
  const agent = new Agent({ name: "agent", instructions: "", model: chosen, tools: [weather] });
  const result = await run(agent, question, { stream, maxTurns: 3 });
  if (stream) await result.completed;
  return result.finalOutput;
}

async function runTools(stream) {
  const run = { ...fn, function: getWeather, parse: JSON.parse };
  const runner = newClient().chat.completions.runTools({ model, stream, messages: [{ role: "user", content: question }], tools: [{ type: "function", function: run }] });
  return runner.finalContent();
}

async function langchain(useResponsesApi, streaming) {
  const weather = langchainTool(getWeather, { name: fn.name, description: fn.description, schema: place });
  const configuration = { baseURL: url, defaultHeaders: { "X-Damage": damage } };
  const bound = new ChatOpenAI({ model, apiKey: "none", maxRetries: 0, useResponsesApi, configuration }).bindTools([weather]);
  const history = [new HumanMessage(question)];
  for (let turn = 0; turn < 3; turn++) {
    let message;
    if (streaming) for await (const chunk of await bound.stream(history)) message = message ? message.concat(chunk) : chunk;
    else message = await bound.invoke(history);
    if (message.invalid_tool_calls?.length) throw new Error(`invalid calls: ${JSON.stringify(message.invalid_tool_calls)}`);
    if (!message.tool_calls?.length) return message.text;
    history.push(message);
    for (const call of message.tool_calls) history.push(new ToolMessage({ tool_call_id: call.id, content: getWeather(call.args) }));
  }
  throw new Error("The conversation does not end.");
}

async function pi(api) {
  const limits = { contextWindow: 128_000, maxTokens: 8_000, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 } };
  const chosen = { id: model, name: model, api, provider: "r", baseUrl: url, reasoning: true, input: ["text"], headers: { "X-Damage": damage }, ...limits };
  const tools = [{ name: fn.name, description: fn.description, parameters }];
  const messages = [{ role: "user", content: question, timestamp: Date.now() }];
  for (let turn = 0; turn < 3; turn++) {
    const message = await complete(chosen, { systemPrompt: "Be brief.", messages, tools }, { apiKey: "none", maxRetries: 0 });
    if (message.stopReason === "error") throw new Error(message.errorMessage);
    const asked = message.content.filter((part) => part.type === "toolCall");
    if (!asked.length) return message.content.filter((part) => part.type === "text").map((part) => part.text).join("");
    messages.push(message);
    for (const { id, name, arguments: given } of asked) {
      const content = [{ type: "text", text: getWeather(given) }];
      messages.push({ role: "toolResult", toolCallId: id, toolName: name, content, isError: false, timestamp: Date.now() });
    }
  }
  throw new Error("The conversation does not end.");
}

async function inGenkit(streaming) {
  const connection = { baseURL: url, maxRetries: 0, timeout: 30_000, defaultHeaders: { "X-Damage": damage } };
  const kit = genkit({ plugins: [openAICompatible({ name: "r", apiKey: "none", ...connection })] });
  const inputSchema = genkitZod.object({ location: genkitZod.string(), unit: genkitZod.string().nullish() });
  const weather = kit.defineTool({ name: fn.name, description: fn.description, inputSchema }, async (given) => getWeather(given));
  const given = { model: `r/${model}`, prompt: question, tools: [weather], maxTurns: 3 };
  if (!streaming) return (await kit.generate(given)).text;
  const { stream, response } = kit.generateStream(given);
  for await (const _ of stream);
  return (await response).text;
}

const unchanged = (returned) => returned;
const uses = {
  "oai-js chat non-streaming": () => chat(chatWhole),
  "oai-js chat streaming": () => chat(chatStream),
  "oai-js-stream chat streaming": () => chat(chatHelper),
  "oai-js responses non-streaming": () => responses(responsesWhole),
  "oai-js responses streaming": () => responses(responsesStream),
  "oai-js-stream responses streaming": () => responses(responsesHelper),
};
uses["oai-js-pushed chat non-streaming"] = () => chat(chatWhole, unchanged);
uses["oai-js-pushed chat streaming"] = () => chat(chatHelper, unchanged);
uses["oai-js-pushed responses non-streaming"] = () => responses(responsesWhole, unchanged);
uses["oai-js-pushed responses streaming"] = () => responses(responsesHelper, unchanged);
uses["oai-js-run-tools chat non-streaming"] = () => runTools(false);
uses["oai-js-run-tools chat streaming"] = () => runTools(true);
const models = {
  "ai chat": () => createOpenAI(options()).chat(model),
  "ai responses": () => createOpenAI(options()).responses(model),
  "ai-groq chat": () => createGroq(options())(model),
  "ai-openrouter chat": () => createOpenRouter(options()).chat(model),
  "ai-open responses": () => createOpenResponses({ ...options(), name: "r", url: `${url}/responses` })(model),
  "ai-compat chat": () => createOpenAICompatible({ ...options(), name: "r", includeUsage: true }).chatModel(model),
};
for (const [name, made] of Object.entries(models)) {
  uses[`${name} non-streaming`] = () => vercel(made(), false);
  uses[`${name} streaming`] = () => vercel(made(), true);
}
for (const [api, kind] of [["chat", OpenAIChatCompletionsModel], ["responses", OpenAIResponsesModel]]) {
  uses[`agents-js ${api} non-streaming`] = () => agents(kind, false);
  uses[`agents-js ${api} streaming`] = () => agents(kind, true);
}
for (const [api, over] of [["chat", false], ["responses", true]]) {
  uses[`lc-js ${api} non-streaming`] = () => langchain(over, false);
  uses[`lc-js ${api} streaming`] = () => langchain(over, true);
}
uses["pi chat streaming"] = () => pi("openai-completions");
uses["pi responses streaming"] = () => pi("openai-responses");
uses["continue chat non-streaming"] = () => chat(adapterWhole);
uses["continue chat streaming"] = () => chat(adapterStream);
uses["genkit chat non-streaming"] = () => inGenkit(false);
uses["genkit chat streaming"] = () => inGenkit(true);
setTracingDisabled(true);
process.on("unhandledRejection", () => {});
async function outcome(use, seconds) {
  const late = `no end after ${seconds} s`;
  const calls = [];
  let timer;
  const end = new Promise((_, reject) => (timer = setTimeout(() => reject(late), 1000 * seconds)));
  try {
    return { calls, text: ((await Promise.race([called.run(calls, use), end])) ?? "").trim() };
  } catch (error) {
    if (error === late) return { calls, error: late, late: true };
    return { calls, error: `${error?.name}: ${error?.message}`.slice(0, 200) };
  } finally {
    clearTimeout(timer);
  }
}
const print = (value) => writeSync(1, `\nmeasured ${JSON.stringify(value)}\n`);
print(Object.keys(uses).filter((use) => clients.includes(use.split(" ")[0])));
for await (const line of createInterface({ input: process.stdin })) {
  let use, seconds;
  [damage, use, seconds] = JSON.parse(line);
  print(await outcome(uses[use], seconds));
}
process.exit(0);
