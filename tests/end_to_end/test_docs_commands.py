"""Every command in the README and the docs is run against a mock, or at least parsed."""

import asyncio
import re
import webbrowser
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from background import in_background
from docs_pages import PAGES, ROOT, Block, Command, blocks, headings, links
from healthy import SUITE, provider_of
from mock_provider import MockProvider, Received
from quiz import quiz
from replies import MODEL

from evals.__main__ import translated
from gpt_oss_verify.app import prepared, run
from harness.providers.entries import Launch, Prices, Provider, own_providers
from reference_engine.__main__ import application as engine
from reference_engine.__main__ import main as engine_command

BLOCKS = tuple(blocks())
NOT_OURS = {"inspect", "make", "pip", "pytest", "python", "python -m benchmarks.gpu", "torchrun"}
COMMANDS = tuple(command for block in BLOCKS for command in block.commands)
NAMES = ("mine", "groq", "fireworks", "reference")
RUN_ELSEWHERE = {
    "serve": "tests/end_to_end/test_packaging.py",
    "selftest": "tests/harness/selftest/test_selftest_run.py",
    "reproduce": "tests/gpt_oss_verify/test_reproduce.py",
    "view": "tests/gpt_oss_verify/test_view.py",
}
_FEW = (
    ("-n", "1"),
    ("-k", "1"),
    ("--rule", "guide"),
    ("--no-streaming",),
    ("--apis", "chat"),
    ("--only", "cases"),
)
"""The mock answers cases, not probes."""
BRIEFLY = {
    "": _FEW,
    "compare": _FEW,
    "eval": (("--examples", "1"), ("--tries", "1")),
}
PROMPTS = {case.prompt for case in SUITE.cases}


def command_name(command: Command) -> str:
    """The program, or the command of `gpt-oss-verify`."""
    program, *rest = command.words
    if program == "gpt-oss-verify":
        return rest[0] if rest and not rest[0].startswith("-") else ""
    return " ".join(command.words[:3]) if program == "python" and rest[0] == "-m" else program


def commands_to_run(block: Block) -> list[Command]:
    if block.needs_provider:
        return []
    if any(command_name(each) in {"inspect", "lm_eval"} for each in block.commands):
        return []  # the logs that they would write: tests/harness/compare/test_*_logs.py
    return [
        each for each in block.commands if command_name(each) not in {*NOT_OURS, *RUN_ELSEWHERE}
    ]


# --- Commands are parsed


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_and_its_options_exist(command: Command) -> None:
    program, *rest = command.words
    match command_name(command):
        case "inspect" | "lm_eval":  # tests/harness/compare/test_*_logs.py read what they write
            assert {"--log-dir", "--output_path"} & set(rest)
        case "mitmdump":  # mitmproxy, which writes a recording that `import` reads
            assert any(word.startswith("hardump=") for word in rest)
        case "pip":
            assert rest[0] == "install"
            extras = re.findall(r"(?:gpt-oss-verify|\.)\[(\w+)\]", rest[-1])
            assert set(extras) <= set(metadata.metadata("gpt-oss-verify").get_all("Provides-Extra"))
        case "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{rest[0]}:", makefile, re.MULTILINE)
        case "pytest" | "python":
            assert (ROOT / rest[0]).exists()
        case "python -m reference_engine":
            engine("any").parse_args(rest[2:], exit_on_error=False, print_error=False)
        case "torchrun":
            words = rest[rest.index("reference_engine") + 1 :]
            engine("any").parse_args(words, exit_on_error=False, print_error=False)
        case "python -m benchmarks.gpu":
            pytest.importorskip("triton", reason="Triton is not installed")
            from benchmarks.gpu.__main__ import parser

            assert parser().parse_args(rest[2:]).stages is not None
        case "python -m evals":
            parse_command(translated(rest[2:]))
        case _:
            assert program == "gpt-oss-verify"
            parse_command(rest)


def parse_command(words: list[str]) -> int:
    """Parse the arguments of `gpt-oss-verify`. Raises if they are invalid."""
    prepared(words).parse_args(words, exit_on_error=False, print_error=False)
    if words[:1] == ["serve"]:
        engine("any").parse_args(words, exit_on_error=False, print_error=False)
    return 0


# --- Commands are run


class Workspace:
    """A folder with the providers, runs and files that the pages name."""

    def __init__(self, mock: MockProvider) -> None:
        self.mock = mock
        self.write_providers()
        brief = [word for option in _FEW for word in option]
        runs = [self.create_run("-p", name, *brief) for name in ("groq", "fireworks", "mine")]
        scored = self.create_run(
            "eval", "-p", "groq", "--eval", "aime25", "--samples", "--tries", "1"
        )
        baseline = "baseline-reference.json"
        assert run(["export", scored, "--format", "baseline", "--out", baseline]) == 0
        self.stands_for: Mapping[str, str] = {
            "RUN": runs[0],
            "BEFORE": runs[0],
            "AFTER": runs[1],
            "runs/groq-…": runs[0],
            "runs/fireworks-…": runs[1],
            "runs/together-…": runs[2],
            "runs/eval-groq-…": scored,
            "http://localhost:8000/v1": mock.base_url,
            "openai/gpt-oss-20b": MODEL,
        }

    def write_providers(self) -> None:
        entry = {"base_url": self.mock.base_url, "model": MODEL, "apis": ["responses", "chat"]}
        text = yaml.safe_dump({"providers": dict.fromkeys(NAMES, entry)})
        Path("providers.yaml").write_text(text, encoding="utf-8")

    def create_run(self, *arguments: str) -> str:
        before = set(Path("runs").glob("*"))
        run(arguments)
        (folder,) = set(Path("runs").glob("*")) - before
        return str(folder)

    def run(self, command: Command) -> int:
        words = [self.stands_for.get(word, word) for word in command.words]
        if words[:3] == ["python", "-m", "reference_engine"]:
            return engine_command(words[3:])
        if command_name(command) == "init":
            Path("providers.yaml").unlink()
        try:
            return run([*words[1:], *shortening_options(command)])
        finally:
            self.write_providers()


def shortening_options(command: Command) -> tuple[str, ...]:
    """Options that make a command short, except those that the command already has."""
    if command_name(command) == "compare" and "--provider" not in command.words:
        return ()
    given = BRIEFLY.get(command_name(command), ())
    return tuple(word for option in given if option[0] not in command.words for word in option)


async def answer_anything(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer the shipped cases correctly, and eval questions with the quiz."""
    body = request.body or {}
    turns = body.get("messages") or body.get("input") or []
    asked = {str(turn.get("content")) for turn in turns}
    await (provider_of() if asked & PROMPTS or body.get("stream") else quiz(0.8))(request, writer)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("docs"))
        patch.setattr(webbrowser, "open", lambda _: True)
        with in_background(MockProvider(always=answer_anything, models=[MODEL])) as mock:
            yield Workspace(mock)


@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in BLOCKS if commands_to_run(b)], ids=str)
def test_commands_run(block: Block, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in commands_to_run(block):
        for name, value in command.variables:
            monkeypatch.setenv(name, value)
        assert workspace.run(command) == 0, f"{command} failed"


def test_commands_not_run_here_are_run_by_another_test() -> None:
    for name, place in RUN_ELSEWHERE.items():
        assert name.replace("-", "_") in (ROOT / place).read_text(encoding="utf-8")


# --- Contents of the pages


def test_no_link_is_broken() -> None:
    for page, path, place in links():
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}, which is not there"
        if place:
            assert place in headings(target), f"{page.name}: {path} has no heading {place}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        if page.parent.name == "docs" and page.name != "README.md":
            assert f"({page.name})" in index


def test_every_key_of_a_provider_entry_is_documented_with_an_example(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert rows == (set(Provider.model_fields) - {"name"}) | set(Launch.model_fields)
    assert all(f"`{name}`" in page for name in Prices.model_fields)
    capabilities = Provider.model_json_schema()["properties"]["limitations"]["items"]["enum"]
    assert all(f"`{name}`" in page for name in capabilities)
    shown: set[str] = set()
    for provider in shown_providers(page, tmp_path):
        shown |= provider.model_fields_set
        shown |= provider.launch.model_fields_set if provider.launch else set()
    assert shown - {"name"} == rows


def test_every_provider_entry_in_the_docs_loads(tmp_path: Path) -> None:
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sum(len(list(shown_providers(page, tmp_path))) for page in pages) > 1


def shown_providers(page: str, folder: Path) -> Iterator[Provider]:
    """The provider entries in the providers.yaml blocks of a page."""
    for text in re.findall(r"^```yaml\n(providers:\n.*?)^```$", page, re.MULTILINE | re.DOTALL):
        file = folder / "some.yaml"
        file.write_text(text, encoding="utf-8")
        yield from own_providers(file).values()


def test_every_option_of_the_server_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "reference-engine.md").read_text(encoding="utf-8")
    assert engine_command(["serve", "--help"]) == 0
    offered = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert offered <= set(re.findall(r"--[a-z-]+", page))
