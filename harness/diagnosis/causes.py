"""What defects of each layer break in clients, and how they were corrected; links to threads.

The texts summarize the threads that the catalogue of faults names as sources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TITLES: Mapping[str, str] = {
    "rendering": "The server does not render prompts as harmony.",
    "history": "The server does not pass earlier turns on as they were.",
    "tool mapping": "The server changes tools or calls on their way.",
    "parsing": "The server does not parse the model's output correctly.",
    "structured output": "The server does not constrain structured answers correctly.",
    "streaming": "The server does not stream correctly.",
    "sampling": "The server does not sample as requested, or does not stop where it should.",
    "limits": "The server does not handle token limits and stop strings correctly.",
    "usage": "The server counts tokens wrongly.",
    "errors": "The server does not report errors correctly.",
    "intermittent": "The server fails in some requests only.",
    "numerics": "The engine computes with wrong numbers: weights, kernels or caches.",
    "long context": "The server does not handle long prompts correctly.",
    "built-in tools": "The server does not run the browser and Python tools as gpt-oss expects.",
}

_EFFECTS: Mapping[str, str] = {
    "rendering": "The model gets another prompt than the one it was trained on, so answers and "
    "tool calls get worse although every reply looks valid.",
    "history": "The model does not see earlier turns as they were, so agents repeat calls, "
    "contradict results, or forget why they called a tool.",
    "tool mapping": "The model sees other tools than the client offers, or the client gets other "
    "calls than the model made, so calls fail or do the wrong thing.",
    "parsing": "Text, CoT and calls end up in the wrong fields or are lost, so clients show the "
    "CoT to users or wait for calls that never come.",
    "structured output": "Clients cannot parse answers that should conform to their schema.",
    "streaming": "Clients that read the stream event by event lose text or calls, or stop with an "
    "error; the same request without streaming may work.",
    "sampling": "The model samples other tokens than it should, so scores drop and runs on, or "
    "options of the request have no effect.",
    "limits": "Clients cannot tell a complete answer from one that was cut off, or get more or "
    "less text than they asked for.",
    "usage": "Costs, limits and context lengths that clients compute from token counts are wrong.",
    "errors": "Clients cannot tell their own mistakes from failures of the server, so they retry "
    "in vain or do not retry at all.",
    "intermittent": "Some requests fail although the same request succeeds at another time, so "
    "long agent runs break.",
    "numerics": "The model computes other probabilities than the released weights, so scores drop "
    "although every reply looks valid.",
    "built-in tools": "The model searches or computes in vain, or clients do not see what it did.",
    "long context": "Long conversations lose parts or slow down, so agents forget instructions and "
    "results although short requests work.",
}

_REMEDIES: Mapping[str, str] = {
    "rendering": "Render prompts with openai-harmony, or compare the chat template with its "
    "output token by token.",
    "history": "Keep the CoT of the current turn when messages become harmony, drop it only "
    "before a later final answer, and pass every part of a message on.",
    "tool mapping": "Pass names, schemas and arguments on unchanged in both directions, and "
    "check tool_choice before sampling.",
    "parsing": "Parse the tokens of the reply with openai-harmony's parser instead of matching "
    "text, one parser per request.",
    "structured output": "Apply the grammar to the final channel only, after its header.",
    "streaming": "Build events from the same parsed messages as the complete reply, and compare "
    "the two.",
    "sampling": "Stop at <|return|> and <|call|>, pass sampling options on, and apply no "
    "penalties or filters by default.",
    "limits": "Carry the engine's finish reason through every layer up to the reply.",
    "usage": "Count the tokens of the rendered prompt and of the complete output, CoT included.",
    "errors": "Validate requests before sampling, and map each kind of error to its 4xx or 5xx "
    "status with a JSON body.",
    "intermittent": "Look for state that requests share (parsers, caches, stores) and for "
    "replicas with other versions.",
    "numerics": "Compare the logprobs with the reference layer by layer; check the conversion of "
    "weights and the number formats first.",
    "long context": "Refuse prompts beyond the limit with a 4xx status instead of cutting them. "
    "Compare answers with and without cached prefixes.",
    "built-in tools": "Declare them as harmony does, and return their calls and results as items.",
}

_REPOSITORIES: Mapping[str, str] = {
    "vllm": "vllm-project/vllm",
    "ollama": "ollama/ollama",
    "sglang": "sgl-project/sglang",
    "llama.cpp": "ggml-org/llama.cpp",
    "lmstudio-bug-tracker": "lmstudio-ai/lmstudio-bug-tracker",
    "lmdeploy": "InternLM/lmdeploy",
    "mlx-lm": "ml-explore/mlx-lm",
    "vllm-mlx": "waybarrios/vllm-mlx",
    "Rapid-MLX": "raullenchai/Rapid-MLX",
    "OpenHands": "All-Hands-AI/OpenHands",
    "TensorRT-LLM": "NVIDIA/TensorRT-LLM",
    "promptfoo": "promptfoo/promptfoo",
    "flashinfer": "flashinfer-ai/flashinfer",
}
_THREAD = re.compile(r"([\w.-]+(?:/[\w.-]+)?) ?(PR)?#(\d+)")
_COMMIT = re.compile(r"ollama ([0-9a-f]{9})\b")


def title(layer: str) -> str:
    """What a server with any defect of a layer does."""
    return _TITLES[layer]


def effect(layer: str) -> str:
    """What a defect of a layer breaks in clients."""
    return _EFFECTS[layer]


def remedy(layer: str) -> str:
    """How defects of a layer were corrected."""
    return _REMEDIES[layer]


def links(source: str) -> tuple[str, ...]:
    """The threads and commits that a source of the catalogue names, as URLs; else its text."""
    if source == "hypothetical":
        return ()
    found = []
    for name, pull, number in _THREAD.findall(source):
        repository = name if "/" in name else _REPOSITORIES.get(name)
        if repository is not None:
            kind = "pull" if pull else "issues"
            found.append(f"https://github.com/{repository}/{kind}/{number}")
    found += [f"https://github.com/ollama/ollama/commit/{one}" for one in _COMMIT.findall(source)]
    return tuple(found) or (source,)
