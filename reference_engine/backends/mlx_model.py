"""A model of mlx-lm: Apple's GPUs, and CPUs on Linux."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reference_engine.backends.base import BackendUnavailableError
from reference_engine.backends.in_process import LocalModel, Reader, refuse_codes


def load_mlx(checkpoint: Path) -> LocalModel:
    """Load a checkpoint in Hugging Face's layout with experts in MXFP4, or one of mlx-community.

    Raises:
        BackendUnavailableError: mlx-lm is not installed or cannot load the checkpoint.
    """
    try:
        import mlx.core as mx
        from mlx_lm.models.cache import make_prompt_cache
        from mlx_lm.utils import load_model
    except ImportError as error:
        raise BackendUnavailableError(
            "The backend mlx is not installed: pip install mlx-lm (on Linux also 'mlx[cpu]')."
        ) from error
    refuse_codes(checkpoint)
    try:
        model, config = load_model(checkpoint)
        # Constants that are not computed yet belong to this thread; requests run in another.
        mx.eval(model(mx.array([[0]])))
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise BackendUnavailableError(
            f"mlx-lm cannot load {checkpoint}: {reason} (it needs Hugging Face's layout with "
            "experts in MXFP4: python -m reference_engine convert DIR OUT --layout hf)"
        ) from error

    def new_sequence() -> Reader:
        cache = make_prompt_cache(model)

        def read(ids: list[int]) -> Tensor:
            every: Any = model(mx.array([ids]), cache=cache)
            return torch.from_numpy(np.array(every[:, -1].astype(mx.float32)))

        return read

    return LocalModel(int(config.get("max_position_embeddings", 131072)), new_sequence)
