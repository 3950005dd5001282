"""The differences between the logprobs of mlx-lm and transformers on the same weights.

    pip install 'mlx-lm==0.32.2' 'mlx[cpu]'           # plain mlx on a Mac
    gpt-oss-verify export-small small-hf --layout hf
    gpt-oss-verify export-small small-original --layout original
    python -m reference_engine convert small-original small-mxfp4 --layout hf
    python benchmarks/mlx_numerics.py small-hf small-mxfp4

Both models read the first 480 tokens of the README. The figures are |Δ logprob| of the next tokens,
in nats, from transformers in float32. mlx-lm is tested unmodified, in float32, and with unrounded
bounds of YaRN's range, as gpt-oss's configuration requires (`truncate: false`).
"""

import argparse
import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import torch
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS = 480


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("hf", type=Path, help="the weights for transformers")
    parser.add_argument("mxfp4", type=Path, help="the same for mlx-lm")
    options = parser.parse_args()
    text = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    ids = AutoTokenizer.from_pretrained(options.hf).encode(text)[:TOKENS]
    right = by_transformers(options.hf, ids, torch.float32)
    print(f"{'computed by':28} {'median':>9} {'95 %':>9} {'99 %':>9} {'max':>9}")
    show("transformers, bfloat16", by_transformers(options.hf, ids, torch.bfloat16), right)
    for number in ("bfloat16", "float32"):
        for exact in (False, True):
            made = by_mlx(options.mxfp4, ids, number, exact=exact)
            show(f"mlx-lm, {number}{', exact YaRN' if exact else ''}", made, right)


def show(name: str, made: np.ndarray, right: np.ndarray) -> None:
    apart = np.abs(made - right)
    figures = (np.median(apart), *np.quantile(apart, (0.95, 0.99)), apart.max())
    print(f"{name:28}", *(f"{figure:9.5f}" for figure in figures), flush=True)


def by_transformers(folder: Path, ids: list[int], dtype: torch.dtype) -> np.ndarray:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    with torch.inference_mode():
        return next_logprobs(model(torch.tensor([ids])).logits[0].float(), ids)


def by_mlx(folder: Path, ids: list[int], number: str, *, exact: bool) -> np.ndarray:
    model, config = load_model(folder)
    if number == "float32":
        every = tree_flatten(model.parameters())
        wide = [(k, v.astype(mx.float32) if v.dtype == mx.bfloat16 else v) for k, v in every]
        model.load_weights(wide, strict=False)
    for layer in model.model.layers if exact else ():
        layer.self_attn.rope._freqs = exact_frequencies(config)
    logits = model(mx.array([ids]))[0].astype(mx.float32)
    return next_logprobs(torch.from_numpy(np.array(logits)), ids)


def exact_frequencies(config: dict[str, Any]) -> mx.array:
    """YaRN's wavelengths (Peng et al. 2023, section 3.2), in the form that mlx expects."""
    scaling = config.get("rope_scaling") or config["rope_parameters"]
    base = config.get("rope_theta") or scaling["rope_theta"]
    dims, factor = config["head_dim"], scaling["factor"]
    longest = scaling["original_max_position_embeddings"]

    def place(turns: float) -> float:
        return dims * math.log(longest / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(place(scaling["beta_fast"]), 0), min(place(scaling["beta_slow"]), dims - 1)
    near = base ** (mx.arange(0, dims, 2, dtype=mx.float32) / dims)
    ramp = mx.clip((mx.arange(dims // 2, dtype=mx.float32) - low) / (high - low), 0, 1)
    return 1 / ((1 - ramp) / near + ramp / (factor * near))


def next_logprobs(logits: torch.Tensor, ids: list[int]) -> np.ndarray:
    every = torch.log_softmax(logits[:-1].double(), -1)
    return every.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].numpy()


if __name__ == "__main__":
    main()
