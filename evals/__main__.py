"""`python -m evals`: accepts the flags of `gpt_oss.evals` and becomes `gpt-oss-verify eval`.

The flags and their defaults are those of `gpt_oss/evals/__main__.py` in openai/gpt-oss. They never
override a provider's entry or the settings of a resumed run.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

EXAMPLES_IN_DEBUG = 5
PLACE: Mapping[str, str] = {
    "--base-url": "http://localhost:8000/v1",
    "--model": "gpt-oss-120b,gpt-oss-20b",
    "--n-threads": "1584",
}
PLAN: Mapping[str, str] = {
    "--eval": "gpqa,healthbench,healthbench_hard,healthbench_consensus,aime25",
    "--reasoning-effort": "low,medium,high",
    "--sampler": "responses",
    "--temperature": "1.0",
}
LONG = {"-p": "--provider", "-k": "--tries"}
API_OF = {"responses": "responses", "chat_completions": "chat"}


def main() -> None:
    """Replace this process by the command line, which no package below it imports."""
    command = [sys.executable, "-m", "gpt_oss_verify", *translated(sys.argv[1:])]
    os.execv(sys.executable, command)  # noqa: S606 (the program is this Python)


def translated(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `gpt-oss-verify` for those of `gpt_oss.evals`."""
    known, others = _parser().parse_known_args(arguments)
    names = {LONG.get(name, name) for name in (word.partition("=")[0] for word in others)}
    defaults: dict[str, str] = {}
    if "--resume" not in names:
        defaults |= PLAN
        if "--provider" not in names:
            defaults |= PLACE
    given = {f"--{name.replace('_', '-')}": value for name, value in vars(known).items()}
    wanted = defaults | {name: value for name, value in given.items() if value is not None}
    debug = wanted.pop("--debug")
    if debug:
        wanted = {"--examples": str(EXAMPLES_IN_DEBUG), "--tries": "1", **wanted}
    if sampler := wanted.pop("--sampler", None):
        wanted["--api"] = API_OF[sampler]
    if threads := wanted.pop("--n-threads", None):
        wanted["--concurrency"] = threads
    options = [
        word for name, value in wanted.items() if name not in names for word in (name, value)
    ]
    return ["eval", *options, *(["--debug"] if debug else []), *others]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evals",
        description="Score a provider of gpt-oss. Other options: gpt-oss-verify eval --help.",
        allow_abbrev=False,
    )

    def add(name: str, text: str, choices: Sequence[str] | None = None) -> None:
        default = PLACE.get(name) or PLAN.get(name)
        shown = text if default is None else f"{text} (default: {default})"
        parser.add_argument(name, choices=choices, help=shown)

    add("--model", "comma-separated models")
    add("--reasoning-effort", "comma-separated reasoning efforts")
    add("--sampler", "API", [*API_OF])
    add("--base-url", "base URL of the API")
    add("--eval", "comma-separated evals")
    add("--temperature", "sampling temperature")
    add("--n-threads", "concurrent tries")
    add("--examples", "number of questions of each eval")
    parser.add_argument("--debug", action="store_true", help="few questions; print every request")
    return parser


if __name__ == "__main__":
    main()
