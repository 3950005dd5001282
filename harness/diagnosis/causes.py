"""What defects of each layer break in clients, how they were corrected, and links to threads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml
from pydantic import TypeAdapter


@dataclass(frozen=True)
class Layer:
    """A part of the server: what a defect there does, what it breaks in clients, and the remedy."""

    title: str
    effect: str
    remedy: str


@cache
def layers() -> Mapping[str, Layer]:
    """The layers of the catalogue of faults, by name."""
    content = yaml.safe_load(
        (resources.files("harness") / "data" / "layers.yaml").read_text("utf-8")
    )
    return TypeAdapter(dict[str, Layer]).validate_python(content)


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
