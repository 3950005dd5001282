"""Engines that render chat templates, each in the environment of its packages.

    python engines.py ENGINE FOLDER < ASKED > RENDERED

`benchmarks/templates.py` starts this. FOLDER has what the engine needs beside the template; ASKED
has the template and the variables of each prompt. RENDERED is a list: of each prompt its text, or
why there is none.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.error import HTTPError
from urllib.request import Request, urlopen

Variables = Mapping[str, Any]
Render = Callable[[Variables], str]


def raise_exception(message: str) -> NoReturn:
    """The function of that name, which templates may call."""
    raise ValueError(message)


def jinja2(template: str, _folder: str) -> Render:
    from jinja2 import Environment

    environment = Environment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    compiled = environment.from_string(template)
    return lambda variables: compiled.render(**variables)


def minijinja(template: str, _folder: str) -> Render:
    from minijinja import Environment

    environment = Environment(templates={"chat": template})
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.add_function("raise_exception", raise_exception)
    return lambda variables: str(environment.render_template("chat", **variables))


def openvino_genai(template: str, folder: str) -> Render:
    from openvino_genai import Tokenizer

    tokenizer = Tokenizer(folder)

    def render(variables: Variables) -> str:
        messages, tools = variables["messages"], variables["tools"]
        made = tokenizer.apply_chat_template(messages, True, chat_template=template, tools=tools)
        return str(made)

    return render


def onnxruntime_extensions(template: str, folder: str) -> Render:
    from onnxruntime_extensions.pp_api import Tokenizer

    tokenizer = Tokenizer(folder)

    def render(variables: Variables) -> str:
        tools = json.dumps(variables["tools"]) if variables["tools"] else ""
        messages = json.dumps(variables["messages"])
        return str(tokenizer.apply_chat_template(messages, template=template, tools=tools))

    return render


def llama_cpp(template: str, folder: str) -> Render:
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path, params.chat_template = f"{folder}/small.gguf", template
    params.hostnames, params.port, params.n_ctx, params.n_parallel = ["127.0.0.1"], 0, 512, 1
    server = Server(params)

    def render(variables: Variables) -> str:
        url, headers = (
            f"{server.listening_address}/apply-template",
            {"Content-Type": "application/json"},
        )
        try:
            with urlopen(Request(url, json.dumps(variables).encode(), headers)) as reply:
                return str(json.load(reply)["prompt"])
        except HTTPError as error:
            raise ValueError(error.read().decode()) from error

    return render


ENGINES: Mapping[str, Callable[[str, str], Render]] = {
    "Jinja2": jinja2,
    "minijinja": minijinja,
    "openvino-genai": openvino_genai,
    "onnxruntime-extensions": onnxruntime_extensions,
    "llama.cpp": llama_cpp,
}


def main() -> None:
    engine, folder = sys.argv[1:]
    asked = json.load(sys.stdin)
    render = ENGINES[engine](asked["template"], folder)
    rendered = []
    for variables in asked["prompts"]:
        try:
            rendered.append({"text": render(variables)})
        except Exception as error:  # noqa: BLE001 - of somebody else's engine
            rendered.append({"error": str(error)})
    json.dump(rendered, sys.stdout)


if __name__ == "__main__":
    main()
