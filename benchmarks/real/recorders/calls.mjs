// The calls that a recorder sees, made with OpenAI's SDK: see calls.py.

const question = (number) => [{ role: "user", content: `What is 6 times ${number}?` }];

export async function calls(client, model = "openai/gpt-oss-20b") {
  const streamed = { model, stream: true, stream_options: { include_usage: true } };
  for (const n of [2, 3])
    await tried(() => client.chat.completions.create({ model, messages: question(n) }));
  for (const n of [4, 5])
    await tried(() => client.chat.completions.create({ ...streamed, messages: question(n) }));
  await tried(() => client.responses.create({ model, input: "What is 6 times 8?" }));
  await tried(() => client.responses.create({ model, input: "What is 6 times 9?", stream: true }));
}

async function tried(call) {
  try {
    const made = await call();
    if (made[Symbol.asyncIterator]) for await (const _ of made);
  } catch (error) {
    console.log(error.constructor.name, String(error.message).slice(0, 200));
  }
}
