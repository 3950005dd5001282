"""Tools of agents: handovers to another agent, and work on files and in a shell.

The names and descriptions of handovers follow the OpenAI Agents SDK, in which a handover is a
function without parameters.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from harmony.conversation import FunctionTool
from training.data import natural, words
from training.data.composed_tools import path
from training.data.phrases import fill, request
from training.data.spans import copy
from training.data.task import Ask, Asker

_TOPICS = (
    "sales", "shipping", "returns", "payroll", "legal", "travel", "security", "maths", "history",
    "Spanish", "physics", "onboarding", "insurance", "tax", "repairs", "booking", "complaints",
    "delivery", "marketing", "hardware", "software", "network", "health", "cooking", "fitness",
    "music", "research", "writing", "weather", "finance", "hiring", "training", "warranty",
)  # fmt: skip
_ROLES = (
    "agent", "assistant", "specialist", "expert", "desk", "team", "bot", "tutor", "department",
    "", "", "support", "advisor", "office", "worker",
)  # fmt: skip
_HANDLED = (
    "Handles {t} and {s}.", "Knows all about {t}.", "Answers questions on {t}, {s}.", "",
    "Specialist for {t}.", "For everything about {t} and {s}", "Use it if the user asks about {t}.",
    "Helps with {t}; also with {s}.", "Responsible for {t}. {x}", "Deals with {t} problems.",
)  # fmt: skip
_TO_NAME = (
    "hand me over to {n}", "let me talk to {n}", "connect me to {n}", "transfer me to {n}",
    "put me through to {n}", "pass this on to {n}", "ask {n} to take over", "switch to {n}",
    "forward me to {n}", "get {n} on the line", "bring in {n}", "let {n} handle this",
    "send this over to {n}", "route this to {n}", "delegate this to {n}", "give this to {n}",
)  # fmt: skip
_ON_TOPIC = (
    "I have a question about {t}.", "There is a problem with {t}.", "My {t} is {A}, who can help?",
    "Who can tell me something about {t}?", "I need help with {t}.", "Somebody should look at {t}.",
    "How does {t} work here?", "{t}, please", "It is about {t}.", "I am not happy with {t}.",
    "I want to know more on {t}", "Could someone explain {t} to me?", "What about my {t}?",
)  # fmt: skip
_NAMES = (
    "transfer_to_{x}", "transfer_to_{x}", "transfer_to_{x}", "handoff_to_{x}", "delegate_to_{x}",
    "switch_to_{x}", "ask_{x}", "call_{x}", "escalate_to_{x}", "transfer_to_{x}_agent",
)  # fmt: skip


def handoffs(rng: Random, count: int) -> list[tuple[FunctionTool, Asker]]:
    """Functions that hand over to agents for different topics, each with its asker."""
    drawn = [
        rng.choice((*_TOPICS, words.word(rng), natural.filled(rng, "{N}"))) for _ in range(count)
    ]
    return [_handoff(rng, topic) for topic in dict.fromkeys(drawn)]


def _handoff(rng: Random, topic: str) -> tuple[FunctionTool, Asker]:
    agent = agent_name(rng, topic)
    about, beside = natural.filled(rng, "{S}"), natural.filled(rng, rng.choice(("{S}", "{A} {S}")))
    slots = {"t": rng.choice((topic, about)), "s": beside, "x": natural.sentence(rng)}
    handled = fill(rng, rng.choice(_HANDLED), slots)
    name, described = transfer(rng, agent, handled)
    if rng.random() < 0.2:
        described = handled or f"Talk to the {agent}."
    reason = rng.choice(("reason", "message", "request", "task")) if rng.random() < 0.15 else ""
    known = [topic, *(one for one in (about, beside) if one in handled)]

    def ask(rng: Random, _tool: FunctionTool) -> Ask:
        name = rng.choice(
            (topic, agent, f"the {agent}", f"the {topic} people", f"someone from {topic}")
        )
        talk = fill(
            rng, rng.choice(_ON_TOPIC), {"t": rng.choice(known), "A": natural.filled(rng, "{A}")}
        )
        wish = request(rng, {"n": name}, verbs=_TO_NAME, nouns=("{n}",), tails=False)
        text = rng.choice((talk, wish, f"{talk} {wish}", f"{natural.sentence(rng)} {wish}"))
        if not reason:
            return Ask(text)
        why = natural.phrase(rng)
        return Ask(f"{wish.rstrip('.?!')}, {reason}: {why}", {reason: copy(why)})

    properties = {reason: {"type": "string"}} if reason else {}
    parameters = {
        "type": "object",
        "properties": properties,
        "required": [reason] if reason else [],
    }
    return FunctionTool(name, described, parameters), ask


def agent_name(rng: Random, topic: str) -> str:
    """The name of an agent for a topic."""
    return f"{topic} {rng.choice(_ROLES)}".strip()


def transfer(rng: Random, agent: str, handled: str) -> tuple[str, str]:
    """The name and the description of the function that hands over to an agent."""
    spelled = "_".join(agent.lower().split())
    shown = rng.choice((agent.title(), agent.title(), agent))
    described = f"Handoff to the {shown} agent to handle the request. {handled}"
    return rng.choice(_NAMES).replace("{x}", spelled), described


def _command(rng: Random) -> str:
    file, word = path(rng), words.word(rng)
    return rng.choice(
        (f"ls -la {file}", "git status", "git diff", f"cat {file}", f"grep -rn {word} {file}",
         "pwd",
         f"python {file}", "pytest -q", f"make {word}", f"npm run {word}", f"mkdir -p {file}", "ls",
         f"git log -n {rng.randint(1, 20)}", f"echo {word}", f"find . -name {word}",
         f"wc -l {file}",
         f"rm {file}", f"cargo {word}", f"head -{rng.randint(2, 50)} {file}",
         f"git checkout {word}",
         f"cat {file} | sort | uniq -c", f"sed -n 1,{rng.randint(5, 90)}p {file}", "uname -a",
         "date")
    )  # fmt: skip


def _text(rng: Random) -> str:
    return rng.choice((natural.phrase, natural.sentence, words.word))(rng).replace("`", "")


_Maker = Callable[[Random], str]
_CODING: tuple[tuple[tuple[str, ...], tuple[str, ...], dict[str, _Maker], tuple[str, ...]], ...] = (
    (("shell", "run_command", "exec_command", "bash", "terminal", "execute", "local_shell"),
     ("Runs a shell command and returns its output.", "Execute a command in the terminal.", ""),
     {"command|cmd|script|input|code": _command},
     ("run {0}", "execute {0}", "run {0} in the shell", "call {0} in the terminal", "try {0}")),
    (("read_file", "view_file", "open_file", "cat_file", "fs_read", "read"),
     ("Reads a file from the file system.", "Show the contents of a file.", ""),
     {"path|file_path|filename|file|target_file": path},
     ("read {0}", "show me the file {0}", "open {0}", "print the contents of {0}",
      "look into {0}")),
    (("list_dir", "list_files", "ls", "list_directory", "tree"),
     ("Lists the entries of a folder.", "List files in a directory.", ""),
     {"path|dir_path|directory|folder": path},
     ("list {0}", "show the files in {0}", "list the folder {0}", "tell me what is in {0}")),
    (("grep", "search_files", "code_search", "grep_files", "find_in_files"),
     ("Searches files for a pattern.", "Find lines that match a regular expression.", ""),
     {"pattern|query|regex": words.identifier, "path|directory|include": path},
     ("search {1} for {0}", "grep for {0} in {1}", "find {0} in {1}", "look for {0} under {1}")),
    (("write_file", "create_file", "save_file", "fs_write"),
     ("Writes a text to a file.", "Create a file with some content.", ""),
     {"path|file_path|filename": path, "content|text|contents": _text},
     ("write {1} to {0}", "create {0} with the content {1}", "save {1} as {0}",
      "put {1} into {0}")),
    (("delete_file", "remove_file", "rm"), ("Deletes a file.", "Remove a file for good."),
     {"path|file|target": path}, ("delete {0}", "remove the file {0}", "get rid of {0}")),
    (("apply_patch", "edit_file", "replace_in_file", "str_replace"),
     ("Edits a file: replaces one text by another.", "Replace a string in a file."),
     {"path|file_path": path, "old|old_str|search": words.identifier,
      "new|new_str|replace": words.identifier},
     ("replace {1} with {2} in {0}", "in {0}, change {1} to {2}", "rename {1} to {2} in {0}")),
    (("move_file", "rename_file", "mv"), ("Moves or renames a file.",),
     {"source|from_path|src": path, "target|to_path|dst": path},
     ("move {0} to {1}", "rename {0} to {1}", "put {0} at {1}")),
)  # fmt: skip
_WORKDIR = ("workdir", "cwd", "working_directory")


def coding(rng: Random, count: int) -> list[tuple[FunctionTool, Asker]]:
    """Tools of a coding agent, each with its asker."""
    return [_coding(rng, *one) for one in rng.sample(_CODING, min(count, len(_CODING)))]


def _coding(
    rng: Random,
    names: tuple[str, ...],
    descriptions: tuple[str, ...],
    makers: dict[str, _Maker],
    asks: tuple[str, ...],
) -> tuple[FunctionTool, Asker]:
    keys = {rng.choice(spelled.split("|")): maker for spelled, maker in makers.items()}
    properties: dict[str, Any] = {key: {"type": "string"} for key in keys}
    is_list = names[0] == "shell" and rng.random() < 0.35
    if is_list:
        properties = {key: {"type": "array", "items": {"type": "string"}} for key in keys}
    if names[0] == "shell":
        extra = {rng.choice(_WORKDIR): "string", rng.choice(("timeout_ms", "timeout")): "number"}
        properties |= {key: {"type": kind} for key, kind in extra.items() if rng.random() < 0.4}
    for key, schema in properties.items():
        if rng.random() < 0.5:
            schema["description"] = f"{rng.choice(('The', 'Its', 'Which'))} {key.replace('_', ' ')}"

    def ask(rng: Random, _tool: FunctionTool) -> Ask:
        values = [maker(rng) for maker in keys.values()]
        mark = rng.choice(("`", "`", '"', ""))
        mark = "" if any(mark in value for value in values) else mark
        verbs = tuple(one.format(*(f"{{v{at}}}" for at in range(len(values)))) for one in asks)
        shown = {f"v{at}": f"{mark}{value}{mark}" for at, value in enumerate(values)}
        text = request(rng, shown, verbs=verbs, tails=False)
        given: dict[str, Any] = {key: copy(value) for key, value in zip(keys, values, strict=True)}
        if is_list:
            given = {key: ["bash", "-lc", value] for key, value in given.items()}
        return Ask(text, given)

    schema = {"type": "object", "properties": properties, "required": list(keys)}
    return FunctionTool(rng.choice(names), rng.choice(descriptions), schema), ask
