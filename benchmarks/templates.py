"""How other engines render the small checkpoint's chat template, beside transformers.

    python benchmarks/templates.py [ENGINE …] [--work DIR]

renders every prompt that a run sends over Chat Completions, and every kind of schema, in each
engine of benchmarks/real/templates/engines.yaml, which it installs in `--work`, and prints a
Markdown table. What an engine renders otherwise for a reason of its own stands in that file. It
needs Node.js with npm for two of them. The exit code is 1 if an engine renders a prompt otherwise
for another reason, and 2 if an engine could not be installed or run.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from real.clients.packages import install  # noqa: E402
from real_servers import Bench, BenchError, called, described, exported  # noqa: E402
from schema_kinds import KINDS  # noqa: E402

from harness.golden import files as golden_files  # noqa: E402
from harness.rules.catalogue import PROBES  # noqa: E402
from harness.rules.probe import ProbeOptions  # noqa: E402
from harness.run.cases import load_suite  # noqa: E402
from harness.tasks.probing import probe_tasks  # noqa: E402

FOLDER = ROOT / "benchmarks/real/templates"
_SERVER = "llama-cpp-b11549"
_LONGEST = 20_000  # characters of a prompt: a longer one has nothing else in it

Variables = Mapping[str, Any]


def bodies() -> Iterator[tuple[str, Variables]]:
    """The names and requests of all prompts, some of which no template can render."""
    options = ProbeOptions("gpt-oss-20b", ("chat",), golden=golden_files.shipped())
    for task in probe_tasks([*PROBES.values()], options):
        for attempt in task.attempts(1):
            yield f"{attempt.task}/{attempt.sample.id}", attempt.first_request()
    asked = [{"role": "user", "content": "Hi."}]
    named = [(f"suite/{tool.name}", tool.parameters) for tool in load_suite().tools]
    for name, schema in [*named, *((f"schema/{kind}", schema) for kind, schema in KINDS.items())]:
        function = {"name": "f", "description": "Do it.", "parameters": schema}
        yield name, {"messages": asked, "tools": [{"type": "function", "function": function}]}


def prompts(template: str) -> Mapping[str, tuple[Variables, str]]:
    """The variables of each prompt and its right text, by its name: those that have one."""
    found: dict[str, tuple[Variables, str]] = {}
    for name, body in bodies():
        messages, tools = body.get("messages"), body.get("tools") or None
        if not (_are_texts(messages) and _are_functions(tools)):
            continue
        try:
            ((text,), _) = render_jinja_template(
                [messages], tools=tools, chat_template=template, add_generation_prompt=True
            )
        except TemplateError:  # it refuses a role
            continue
        variables = {"messages": messages, "tools": tools, "add_generation_prompt": True}
        if len(text) <= _LONGEST and (variables, text) not in found.values():
            found[name] = variables, text
    return found


def _are_texts(messages: object) -> bool:
    return isinstance(messages, list) and all(
        isinstance(message, dict) and isinstance(message.get("content"), str | None)
        for message in messages
    )


def _are_functions(tools: Sequence[object] | None) -> bool:
    return all(isinstance(tool, dict) and tool.get("function") for tool in tools or ())


def command(engine: str, work: Path, checkpoint: Path) -> Sequence[str]:
    """Install what an engine needs; returns the command that renders. Raises BenchError."""
    if engine == "llama.cpp":
        bench = Bench(_SERVER, described()[_SERVER], work, checkpoint)
        bench.folder.mkdir(exist_ok=True)
        bench.install()
        python, folder = bench.folder / "env/bin/python", bench.folder
        return str(python), str(FOLDER / "engines.py"), engine, str(folder)
    if engine in ("@huggingface/jinja", "minijinja-js"):
        return "node", str(FOLDER / "engines.mjs"), engine, str(work / "templates")
    scripts = work / "templates/engines/bin"
    folder = checkpoint
    if engine == "openvino-genai":
        folder = work / "templates/openvino"
        converter = str(scripts / "convert_tokenizer")
        called(converter, str(checkpoint), "--with-detokenizer", "-o", str(folder))
    return str(scripts / "python"), str(FOLDER / "engines.py"), engine, str(folder)


def rendered(arguments: Sequence[str], asked: str) -> list[Mapping[str, str]]:
    """What an engine makes of all prompts. Raises BenchError."""
    done = subprocess.run(arguments, input=asked, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{arguments[-2]} ended with {done.returncode}")
    texts: list[Mapping[str, str]] = json.loads(done.stdout)
    return texts


def difference(answer: Mapping[str, str], right: str) -> str:
    """How the text of an engine differs from the right one: why there is none, or the place."""
    text = answer.get("text")
    if text is None:
        return answer["error"]
    if sorted(text) == sorted(right):
        return "other order"
    pairs = enumerate(zip(text, right, strict=False))
    at = next((at for at, (a, b) in pairs if a != b), len(right))
    return f"{text[at - 20 : at + 40]!r} for {right[at - 20 : at + 40]!r}"


def main() -> int:
    described_engines = yaml.safe_load((FOLDER / "engines.yaml").read_text("utf-8"))
    engines: Mapping[str, Mapping[str, str]] = described_engines["engines"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help="default: all")
    parser.add_argument("--work", type=Path, default=Path(".real"), help="default: .real")
    arguments = parser.parse_args()
    if unknown := set(arguments.engines) - set(engines):
        parser.error(f"there is no engine {', '.join(sorted(unknown))}; all: {', '.join(engines)}")
    work = arguments.work.resolve()
    (work / "templates").mkdir(parents=True, exist_ok=True)
    checkpoint = exported(work)
    if failed := install(work / "templates", described_engines, newest=False, jobs=1):
        raise BenchError("\n".join(failed.values()))
    template = (checkpoint / "chat_template.jinja").read_text("utf-8")
    asked = prompts(template)
    sent = json.dumps({"template": template, "prompts": [each for each, _ in asked.values()]})
    print(f"| engine | right of {len(asked)} | otherwise, by a reason of its own |")
    print("| --- | ---: | --- |", flush=True)
    unlisted: list[str] = []
    for engine in arguments.engines or engines:
        own: Counter[str] = Counter()
        answers = rendered(command(engine, work, checkpoint), sent)
        for (name, (_, right)), answer in zip(asked.items(), answers, strict=True):
            if answer.get("text") == right:
                continue
            got = difference(answer, right)
            known = (why for pattern, why in engines[engine].items() if re.search(pattern, got))
            if (why := next(known, None)) is not None:
                own[why] += 1
            else:
                unlisted.append(f"{engine}: {name}: {got[:300]}")
        reasons_of = "; ".join(f"{count} {why}" for why, count in own.most_common())
        wrong = sum(line.startswith(f"{engine}: ") for line in unlisted)
        print(f"| {engine} | {len(asked) - own.total() - wrong} | {reasons_of} |", flush=True)
    print("\n".join(unlisted))
    return int(bool(unlisted))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
