"""The program that runs Python clients: it reads requests for conversations, and prints results.

    python -P -m real.clients.python CLIENT …

`client_process` has what it reads and prints, and the environment variables that it needs.
benchmarks/real_clients.py runs it in the environment of the clients that it names.
"""

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial

# Before a client is imported: nothing is fetched or reported.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "ANONYMIZED_TELEMETRY": "false"}

from real.clients import commands, frameworks, sdks
from real.clients.conversation import called


def both(client: str, use: Callable[[str, bool, str], str]) -> dict[str, Callable[[str], str]]:
    return {
        f"{client} {api} {mode}": partial(use, api, mode == "streaming")
        for api in ("chat", "responses")
        for mode in ("non-streaming", "streaming")
    }


def sdk(helper: bool) -> Callable[[str, bool, str], str]:
    talks = {"chat": sdks.chat, "responses": sdks.responses}
    return lambda api, streaming, damage: talks[api](streaming, helper, damage)


USES: dict[str, Callable[[str], str]] = {
    **both("oai-py", sdk(helper=False)),
    **both("oai-py-stream", sdk(helper=True)),
    **both("oai-py-pushed", sdks.pushed),
    **both("agents-py", frameworks.openai_agents),
    **both("lc-py", sdks.langchain),
    **both("pyd", frameworks.pydantic_ai),
    **both("maf", frameworks.agent_framework),
    "lc-groq chat non-streaming": partial(sdks.langchain_groq, False),
    "lc-groq chat streaming": partial(sdks.langchain_groq, True),
    "litellm chat non-streaming": partial(sdks.lite, False),
    "litellm chat streaming": partial(sdks.lite, True),
    "adk chat non-streaming": partial(frameworks.google_adk, False),
    "adk chat streaming": partial(frameworks.google_adk, True),
    **both("hay", frameworks.haystack),
    "smol chat non-streaming": partial(sdks.smolagents, False),
    "smol chat streaming": partial(sdks.smolagents, True),
    "strands chat streaming": partial(frameworks.strands, "chat"),
    "strands responses streaming": partial(frameworks.strands, "responses"),
    **both("llama", frameworks.llama_index),
    **both("agno", frameworks.agno),
    "ag chat non-streaming": partial(frameworks.autogen, False),
    "ag chat streaming": partial(frameworks.autogen, True),
    **both("ag2", frameworks.ag2),
    **both("sk", frameworks.semantic_kernel),
    **both("instr", sdks.instructor),
    **both("mira", sdks.mirascope),
    **both("crew", frameworks.crewai),
    "dspy chat non-streaming": partial(sdks.dspy, "chat"),
    "dspy responses non-streaming": partial(sdks.dspy, "responses"),
    "aider chat streaming": frameworks.aider,
    "qwen chat non-streaming": partial(frameworks.qwen_agent, False),
    "qwen chat streaming": partial(frameworks.qwen_agent, True),
    "browser-use chat non-streaming": sdks.browser_use,
    "codex responses streaming": commands.codex,
    "copilot chat streaming": commands.copilot,
    "opencode chat streaming": commands.opencode,
    "qwen-code chat streaming": commands.qwen_code,
}
"""The uses of all clients: a function of the damage that returns the last text."""


class _Late(BaseException):
    """A conversation takes too long; clients that catch any `Exception` do not catch it."""


def _late(*_: object) -> None:
    raise _Late


def outcome(damage: str, use: str, seconds: int) -> dict[str, object]:
    """Have a conversation; return its calls, and the text or the error."""
    called.clear()
    shown: dict[str, object]
    signal.alarm(seconds)
    try:
        shown = {"text": (USES[use](damage) or "").strip()}
    except _Late:
        shown = {"error": f"no end after {seconds} s", "late": True}
    except Exception as error:  # noqa: BLE001 - whatever a client raises is the result
        shown = {"error": f"{type(error).__name__}: {error}"[:200]}
    finally:
        signal.alarm(0)
    return {"calls": [*called], **shown}


def _print(value: object) -> None:
    print(f"\nmeasured {json.dumps(value)}", flush=True)


def main() -> None:
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _late)
    _print([use for use in USES if use.partition(" ")[0] in sys.argv[1:]])
    for line in sys.stdin:
        _print(outcome(*json.loads(line)))
    os._exit(0)  # threads of LiteLLM


if __name__ == "__main__":
    main()
