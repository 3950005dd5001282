"""The backend that the settings choose."""

from __future__ import annotations

from pathlib import Path

from reference_engine.backends.base import Backend
from reference_engine.backends.dialect import Dialect
from reference_engine.backends.in_process import InProcessEngine, LocalModel
from reference_engine.backends.llama_cpp import LlamaCpp
from reference_engine.backends.mlx_model import load_mlx
from reference_engine.backends.ollama import Ollama
from reference_engine.backends.remote import connect
from reference_engine.backends.settings import BackendSettings
from reference_engine.backends.transformers_model import load_transformers
from reference_engine.backends.vllm import Vllm

_DIALECTS: dict[str, type[Dialect]] = {"vllm": Vllm, "llama.cpp": LlamaCpp, "ollama": Ollama}


def open_backend(
    settings: BackendSettings,
    *,
    checkpoint: Path,
    device: str = "cpu",
    dtype: str | None = None,
    max_batch: int = 32,
    max_context: int | None = None,
    max_queue: int = 256,
) -> Backend:
    """Load the model into this process, or connect to a server.

    Raises:
        BackendUnavailableError: The backend is not available.
    """
    if settings.is_remote:
        return connect(settings, _DIALECTS[settings.name], max_context)
    model: LocalModel
    if settings.name == "mlx":
        model = load_mlx(checkpoint)
    else:
        model = load_transformers(checkpoint, device, dtype)
    return InProcessEngine(model, max_batch=max_batch, max_context=max_context, max_queue=max_queue)
