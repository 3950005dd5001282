"""The shipped signatures of known defects, and how likely a defect makes a check fail.

`gpt-oss-verify selftest --signatures FILE` writes the file. This module also has, for each layer,
what its defects break in clients, how they were corrected, and links to threads.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml
from pydantic import TypeAdapter

from harness.records.diagnosis import Signature, Signatures

LEAK = 0.0002
"""Probability that a check has errors or warnings that no defect of the server causes, unless
healthy runs show a higher one: one of about 250 checks has some in 5 % of runs of good servers."""

_MOST_LEAK = 0.2  # the highest: real models may not make the mistakes of the small checkpoint
_MOST = 0.92  # highest probability: servers with one defect differ in other respects
_COLLATERAL = 0.002
"""Prior probability that a defect causes findings of a check that the catalogue does not name."""
_STRENGTH = 10.0  # how many measured defects of a layer this prior counts as


@cache
def shipped() -> Signatures:
    """The signatures in the package."""
    text = (resources.files("harness") / "data" / "signatures.json").read_text(encoding="utf-8")
    return Signatures.model_validate_json(text)


def leak(signatures: Signatures, check_id: str) -> float:
    """Probability that a run of a server without a defect has findings of a check."""
    runs_with, runs = signatures.healthy.get(check_id, (0, 0))
    return min(_MOST_LEAK, (runs_with + LEAK) / (runs + 1)) if runs else LEAK


def collateral(signatures: Signatures) -> Mapping[tuple[str, str], float]:
    """By layer and check, how often measured defects of the layer make the check have findings."""
    judged, found = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for fault in signatures.faults:
        found.update((fault.layer, name) for name in fault.found)
        judged.update((fault.layer, name) for name in (*fault.found, *fault.clean))
    return {
        key: (found[key] + _STRENGTH * _COLLATERAL) / (count + _STRENGTH)
        for key, count in judged.items()
    }


def firing(signature: Signature, check_id: str, by_layer: Mapping[tuple[str, str], float]) -> float:
    """Probability that a server whose every reply shows a defect makes a check have findings.

    Measured shares are smoothed with Jeffreys' prior. The catalogue names the checks of which at
    least one should find the defect, so where nothing was measured, each of n has 1.5 / n, but at
    least 30 %. For any other check, the other defects of the layer decide (`collateral`).
    """
    if (counts := signature.found.get(check_id)) is not None:
        share = (counts[0] + 0.5) / (counts[1] + 1)
        return _MOST * (1 - (1 - share) ** max(counts[1], 1))
    if check_id in signature.clean:
        return _COLLATERAL
    if check_id in signature.expected:
        return min(_MOST, max(0.3, 1.5 / len(signature.expected)))
    return by_layer.get((signature.layer, check_id), _COLLATERAL)


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
    """The URLs of the threads and commits that a source names; its text if it names none."""
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
