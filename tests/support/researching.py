"""A server with built-in tools, and a model that searches, opens a page, computes and answers."""

from pathlib import Path

from scripted import COT

from reference_engine.builtin.pages import Folder
from reference_engine.builtin.python import PythonSandbox
from reference_engine.builtin.tools import ServerTools

WEB = {"type": "web_search"}
CODE = {"type": "code_interpreter", "container": {"type": "auto"}}
INCLUDE = ["web_search_call.action.sources", "code_interpreter_call.outputs"]
SEARCH = '<|channel|>analysis to=browser.search code<|message|>{"query": "depth of Orla"}<|call|>'
OPEN = '<|channel|>analysis to=browser.open code<|message|>{"id": 0}<|call|>'
RUN = "<|channel|>analysis to=python code<|message|>print(6 * 7)<|call|>"
FINAL = "<|channel|>final<|message|>It is 412 m deep【1†L5】. Not【7†L1】 so.<|return|>"


class EchoSandbox(PythonSandbox):
    """Answers immediately, without a process."""

    async def run(self, code: str) -> str:
        return f"ran {code}\n"


def research(prompt: str, _: object) -> str:
    """A model that searches, opens the first result, computes, and answers."""
    return (COT + SEARCH, COT + OPEN, COT + RUN, COT + FINAL)[prompt.count("<|call|>")]


def server_tools(folder: Path) -> ServerTools:
    """A browser with one page, and a Python tool that runs nothing; five calls at most."""
    (folder / "lakes.example").mkdir()
    page = "<title>Lake Orla</title><p>A lake.</p><p>Depth: 412 m</p>"
    (folder / "lakes.example" / "orla.html").write_text(page, encoding="utf-8")
    return ServerTools(Folder(folder), EchoSandbox(), most_calls=5)
