// As engines.py: node engines.mjs ENGINE FOLDER < ASKED > RENDERED
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [engine, folder] = process.argv.slice(2);
const { template, prompts } = JSON.parse(readFileSync(0, "utf8"));
const installed = createRequire(`${folder}/package.json`);

const engines = {
  "@huggingface/jinja": () => {
    const { Template } = installed("@huggingface/jinja");
    const compiled = new Template(template);
    return (variables) => compiled.render(variables);
  },
  "minijinja-js": () => {
    const { Environment } = installed("minijinja-js");
    const environment = new Environment();
    environment.enablePyCompat();
    environment.trimBlocks = environment.lstripBlocks = true;
    return (variables) => environment.renderStr(template, variables);
  },
};

const render = engines[engine]();
const rendered = prompts.map((variables) => {
  try {
    return { text: render(variables) };
  } catch (error) {
    return { error: String(error.message ?? error) };
  }
});
process.stdout.write(JSON.stringify(rendered));
