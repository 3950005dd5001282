"""Other engines, each in its own environment; `benchmarks/witness.py` starts this.

    python witness_engines.py ENGINE FOLDER < PROMPTS > VALUES

PROMPTS has, for each prompt, its tokens (T,) and the ids (T, n) whose log probabilities VALUES has.
"""

import json
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Logits = Callable[[list[int]], NDArray[np.float32]]


def transformers(folder: str) -> Logits:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def logits(tokens: list[int]) -> NDArray[np.float32]:
        with torch.inference_mode():
            made: NDArray[np.float32] = model(torch.tensor([tokens])).logits[0].numpy()
        return made

    return logits


def onnxruntime_genai(folder: str) -> Logits:
    import onnxruntime_genai as og

    model = og.Model(folder)

    def logits(tokens: list[int]) -> NDArray[np.float32]:
        params = og.GeneratorParams(model)
        # The cache must hold a window of 128 tokens.
        params.set_search_options(max_length=max(256, len(tokens) + 1))
        generator = og.Generator(model, params)
        generator.append_tokens(np.array([tokens], dtype=np.int32))
        made: NDArray[np.float32] = generator.get_output("logits")[0]
        return made

    return logits


def main() -> None:
    engine, folder = sys.argv[1:]
    logits = {"transformers": transformers, "onnxruntime-genai": onnxruntime_genai}[engine](folder)
    values = []
    for prompt in json.load(sys.stdin):
        found = logits(prompt["tokens"]).astype(np.float64)
        top = found.max(-1, keepdims=True)
        found -= top + np.log(np.exp(found - top).sum(-1, keepdims=True))
        values.append(np.take_along_axis(found, np.array(prompt["ids"]), -1).tolist())
    json.dump(values, sys.stdout)


if __name__ == "__main__":
    main()
