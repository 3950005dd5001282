"""Creates the engine or backend of the settings."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from starlette.applications import Starlette

from harmony.vocabulary import VocabularyError, harmony_encoding, token_bytes
from reference_engine.backends.base import Backend, TokenSource
from reference_engine.checkpoint import load_model
from reference_engine.errors import SetupError
from reference_engine.generation.engine import Engine
from reference_engine.generation.forward import MakeForward
from reference_engine.generation.graphs import forward_for
from reference_engine.generation.link import Link
from reference_engine.generation.sampling import Sampler, sample
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import Transformer
from reference_engine.server.app import create_app
from reference_engine.server.settings import AppSettings, ServeSettings


@dataclass(frozen=True)
class Parts:
    """The replaceable parts of a server."""

    model: Callable[[Transformer], Transformer] = lambda model: model
    sampler: Sampler = sample
    app: Callable[[TokenSource, AppSettings], Starlette] = create_app
    forward: Callable[[MakeForward], MakeForward] = lambda make: make


def load(settings: ServeSettings, shard: Shard = UNSHARDED) -> Transformer:
    """Load the checkpoint, or one shard of it, and the vocabulary. Raises SetupError."""
    prepare(settings)
    return load_model(
        settings.checkpoint,
        settings.device,
        getattr(torch, settings.dtype) if settings.dtype else None,
        kernels=settings.kernels,
        packed=settings.packed or None,
        shard=shard,
        residual=getattr(torch, settings.residual),
    )


def open_engine(
    settings: ServeSettings,
    parts: Parts | None = None,
    shard: Shard = UNSHARDED,
    link: Link | None = None,
) -> Backend:
    """Create the engine or backend of the settings, without starting it. Raises SetupError."""
    if settings.backend.name != "reference":
        return _backend(settings)
    parts = parts or Parts()
    return Engine(
        parts.model(load(settings, shard)),
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
        max_context=settings.max_context,
        prefill_chunk=settings.prefill_chunk,
        memory=settings.memory,
        sampler=parts.sampler,
        forward=parts.forward(forward_for),
        link=link,
    )


def _backend(settings: ServeSettings) -> Backend:
    # Imported here because only these backends need their packages.
    from reference_engine.backends.dialect import Dialect
    from reference_engine.backends.in_process import InProcessEngine, load_mlx, load_transformers
    from reference_engine.backends.llama_cpp import LlamaCpp
    from reference_engine.backends.ollama import Ollama
    from reference_engine.backends.remote import connect
    from reference_engine.backends.vllm import Vllm

    if settings.faulty:
        raise SetupError("--fault needs the reference engine: remove --backend.")
    prepare(settings)
    if settings.backend.is_remote:
        dialects: dict[str, type[Dialect]] = {"vllm": Vllm, "llama.cpp": LlamaCpp, "ollama": Ollama}
        return connect(settings.backend, dialects[settings.backend.name], settings.max_context)
    model = (
        load_mlx(settings.checkpoint)
        if settings.backend.name == "mlx"
        else load_transformers(settings.checkpoint, settings.device, settings.dtype)
    )
    return InProcessEngine(
        model,
        max_batch=settings.max_batch,
        max_context=settings.max_context,
        max_queue=settings.max_queue,
    )


def prepare(settings: ServeSettings) -> None:
    """Check the device, set the threads and load the vocabulary. Raises SetupError."""
    device, local = settings.device.partition(":")[0], not settings.backend.is_remote
    if device == "cuda" and local and not torch.cuda.is_available():
        raise SetupError("PyTorch finds no CUDA device: use --device cpu, or check the driver.")
    if device == "mps" and local and not torch.backends.mps.is_available():
        raise SetupError("PyTorch finds no Apple GPU: use --device cpu.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        harmony_encoding()
        token_bytes()
    except VocabularyError as error:
        raise SetupError(str(error)) from error
