// Conversations with a tool by real JavaScript clients, as python_clients.py has them.
//
//     node javascript_clients.mjs BASE_URL [DAMAGE …]
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool as agentTool } from "@openai/agents";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const [url, ...damages] = process.argv.slice(2);
const question = "What is the weather in Lisbon?";
const model = "gpt-oss-small";
const schema = { location: { type: "string" }, unit: { type: "string" } };
const parameters = { type: "object", properties: schema, required: ["location"] };
const fn = { name: "get_weather", description: "Get the weather.", parameters };
const place = z.object({ location: z.string(), unit: z.string().nullish() });
let calls = [];
let damage = "";

function getWeather({ location }) {
  calls.push(location);
  return `It is sunny in ${location}, 21 degrees.`;
}

const options = () => ({ baseURL: url, apiKey: "none", headers: { "X-Damage": damage } });
const newClient = () => new OpenAI({ ...options(), maxRetries: 0, timeout: 30_000, defaultHeaders: { "X-Damage": damage } });

async function chat(read) {
  const messages = [{ role: "user", content: question }];
  for (let turn = 0; turn < 3; turn++) {
    const message = await read(newClient(), { model, messages, tools: [{ type: "function", function: fn }] });
    if (!message.tool_calls?.length) return message.content;
    messages.push({ role: "assistant", content: null, tool_calls: message.tool_calls });
    for (const call of message.tool_calls) {
      messages.push({ role: "tool", tool_call_id: call.id, content: getWeather(JSON.parse(call.function.arguments)) });
    }
  }
  throw new Error("The conversation does not end.");
}

const chatWhole = async (client, body) => (await client.chat.completions.create(body)).choices[0].message;
const chatHelper = async (client, body) => (await client.chat.completions.stream(body).finalChatCompletion()).choices[0].message;

async function chatStream(client, body) {
  const message = { content: "", tool_calls: [] };
  for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
    const delta = chunk.choices[0]?.delta;
    message.content += delta?.content ?? "";
    for (const call of delta?.tool_calls ?? []) {
      if (!message.tool_calls[call.index]) message.tool_calls[call.index] = call;
      else message.tool_calls[call.index].function.arguments += call.function.arguments;
    }
  }
  return message;
}

async function responses(read) {
  const input = [{ role: "user", content: question }];
  for (let turn = 0; turn < 3; turn++) {
    const { text, output } = await read(newClient(), { model, input, tools: [{ type: "function", ...fn, strict: false }] });
    const asked = output.filter((item) => item.type === "function_call");
    if (!asked.length) return text;
    for (const { call_id, name, arguments: given } of asked) {
      input.push({ type: "function_call", call_id, name, arguments: given });
      input.push({ type: "function_call_output", call_id, output: getWeather(JSON.parse(given)) });
    }
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

const uses = {
  "oai-js chat non-streaming": () => chat(chatWhole),
  "oai-js chat streaming": () => chat(chatStream),
  "oai-js-stream chat streaming": () => chat(chatHelper),
  "oai-js responses non-streaming": () => responses(responsesWhole),
  "oai-js responses streaming": () => responses(responsesStream),
  "oai-js-stream responses streaming": () => responses(responsesHelper),
};
const models = {
  "ai chat": () => createOpenAI(options()).chat(model),
  "ai responses": () => createOpenAI(options()).responses(model),
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
setTracingDisabled(true);
process.on("unhandledRejection", () => {});
for (damage of damages) {
  for (const [name, use] of Object.entries(uses)) {
    calls = [];
    let shown;
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("no end after 15 s")), 15_000)));
    try {
      shown = { text: ((await Promise.race([use(), late])) ?? "").trim() };
    } catch (error) {
      shown = { error: `${error?.name}: ${error?.message}`.slice(0, 200) };
    }
    clearTimeout(timer);
    console.log(JSON.stringify([damage, name, { calls, ...shown }]));
  }
}
process.exit(0);
