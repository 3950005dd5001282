"""A model of Hugging Face transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reference_engine.backends.base import BackendUnavailableError
from reference_engine.backends.in_process import LocalModel, Reader, refuse_codes


def load_transformers(checkpoint: Path, device: str, dtype: str | None) -> LocalModel:
    """Load a checkpoint in Hugging Face's layout.

    Raises:
        BackendUnavailableError: transformers is not installed or cannot load the checkpoint.
    """
    try:
        from transformers import AutoModelForCausalLM, DynamicCache
    except ImportError as error:
        raise BackendUnavailableError(
            "The backend transformers is not installed: pip install 'transformers>=5.23'."
        ) from error
    refuse_codes(checkpoint)
    number = dtype or ("float32" if device == "cpu" else "bfloat16")
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=getattr(torch, number), local_files_only=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise BackendUnavailableError(
            f"transformers cannot load {checkpoint}: {reason} (it needs Hugging Face's layout)"
        ) from error
    model = model.to(device).eval()

    def new_sequence() -> Reader:
        cache = DynamicCache(config=model.config)

        @torch.inference_mode()
        def read(ids: list[int]) -> Tensor:
            there = torch.tensor([ids], device=model.device)
            out = model(there, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits: Tensor = out.logits[:, -1]
            return logits

        return read

    return LocalModel(model.config.max_position_embeddings, new_sequence)
