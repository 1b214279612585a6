// Puts questions to a gateway through the official `openai` npm package; questions.py runs it and checks the answers.
// Reads a task as JSON from stdin; writes one answer per question, in order, as JSON to stdout.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const { OpenAI } = createRequire(join(process.argv[2], "package.json"))("openai");
const task = JSON.parse(readFileSync(0, "utf8"));
const client = new OpenAI({ baseURL: task.baseURL, apiKey: task.apiKey, maxRetries: 0, timeout: 30_000 });
const ask = { model: task.model, max_tokens: task.maxTokens };

async function unary(messages) {
  const { data, response } = await client.chat.completions.create({ ...ask, messages }).withResponse();
  const [choice] = data.choices;
  return told(response, choice.message.content, choice.finish_reason, data.usage);
}

async function streamed(messages) {
  const { data, response } = await client.chat.completions
    .create({ ...ask, messages, stream: true, stream_options: { include_usage: true } })
    .withResponse();
  let text = "", finish = "", usage = null;
  for await (const chunk of data) {
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      text += choice.delta.content ?? "";
      finish = choice.finish_reason ?? finish;
    }
  }
  return told(response, text, finish, usage);
}

function told(response, text, finish, usage) {
  const id = response.headers.get("x-headgate-id");
  return { id, text, finish, input: usage?.prompt_tokens ?? -1, output: usage?.completion_tokens ?? -1 };
}

const answers = new Array(task.questions.length);
let next = 0;
async function worker() {
  while (next < task.questions.length) {
    const index = next++;
    answers[index] = await (task.stream ? streamed : unary)(task.questions[index]);
  }
}
await Promise.all(Array.from({ length: task.concurrency }, worker));
process.stdout.write(JSON.stringify(answers));
