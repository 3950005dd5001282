"""How many replies of `harmony.conformance` the response templates of others read wrongly.

    python benchmarks/response_templates.py [--work DIR] [--names]

reads the small checkpoint's template and those of the packages below, whose wheels it downloads and
does not install, and prints a Markdown table: the fixtures that fail if transformers parses them
with that template, as whole replies and as streams; with `--names`, also which. mlx-vlm finds calls
with a parser of its own in the text of the whole reply, tinker-cookbook in whole replies. Of the
latter, three prompts are compared with those of openai-harmony, too. The exit code is 2 if a wheel
cannot be downloaded.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

from real.wheels import Record, defined, wheel
from real_servers import BenchError

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from real.templates import tinker_cookbook  # noqa: E402
from transformers_parsers import calls_of, streamed, text_of, whole  # noqa: E402

from harmony.conformance import FIXTURES, Chunks, Message, Parser, failures  # noqa: E402
from reference_engine.small import SMALL_CHECKPOINT  # noqa: E402

TRL, MLX_VLM, TINKER = "trl==1.16.0", "mlx-vlm==0.7.10", "tinker-cookbook==0.6.1"


def of_mlx_vlm(harness: ZipFile) -> Sequence[Parser]:
    """Its parsers: texts by its template, and the calls in the text of the whole reply."""
    module = "mlx_vlm/models/gpt_oss/processing_gpt_oss.py"
    name = "HARMONY_RESPONSE_TEMPLATE"
    template = defined(harness, module, name)[name]
    reasoning = template["fields"]["reasoning_content"] | {"join": "\n"}  # what its server does
    joined = template | {"fields": template["fields"] | {"reasoning_content": reasoning}}
    tools = ModuleType("mlx_vlm_tools")  # without the package above it, which needs MLX
    tools.__path__ = [f"{harness.filename}/mlx_vlm/tools"]
    sys.modules[tools.__name__] = tools
    find = importlib.import_module("mlx_vlm_tools.extractor").process_tool_calls
    harmony = importlib.import_module("mlx_vlm_tools.parsers.harmony")

    def with_calls(texts: Parser) -> Parser:
        def parse(chunks: Chunks) -> Sequence[Message]:
            calls = {"tool_calls": find(text_of(chunks), harmony, []).calls}
            return [*texts(chunks), *calls_of(calls)]

        return parse

    return with_calls(whole(joined)), with_calls(streamed(template))


def parsers(work: Path, renderer: Record) -> Mapping[str, Sequence[Parser]]:
    """The parsers of whole replies and of streams by what their template belongs to."""
    config = json.loads((SMALL_CHECKPOINT.parent / "tokenizer_config.json").read_text("utf-8"))
    ours = config["response_template"]
    name = "gptoss_template"
    trl = defined(wheel(TRL, work), "trl/chat_template_utils.py", name)[name]
    return {
        "the small checkpoint": (whole(ours), streamed(ours)),
        TRL: (whole(trl), streamed(trl)),
        MLX_VLM: of_mlx_vlm(wheel(MLX_VLM, work)),
        TINKER: [tinker_cookbook.parser(renderer)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".real/response-templates"))
    parser.add_argument("--names", action="store_true", help="name the fixtures that fail")
    arguments = parser.parse_args()
    print(f"| template of | whole, of {len(FIXTURES)} | streamed |\n| --- | ---: | ---: |")
    work = arguments.work.resolve()
    renderer = tinker_cookbook.renderer(wheel(TINKER, work))
    for name, both in parsers(work, renderer).items():
        wrong = [[str(each) for each in FIXTURES if failures(parse, each)] for parse in both]
        counts = [*map(len, wrong), "–"]
        print(f"| {name.replace('==', ' ')} | {counts[0]} | {counts[1]} |", flush=True)
        if arguments.names:
            print(*map(", ".join, wrong), sep="\n")
    print(f"\n| prompts of {TINKER.replace('==', ' ')} | beside openai-harmony |\n| --- | --- |")
    for name, theirs in tinker_cookbook.prompts(renderer).items():
        print(f"| {name} | {theirs} |")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
