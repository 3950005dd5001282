"""The engine that the settings name, ready to be started, or what its user has to mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harmony.vocabulary import VocabularyError, harmony_encoding, token_bytes
from reference_engine.backends.base import Backend, BackendUnavailableError
from reference_engine.checkpoint import CheckpointError, load_model
from reference_engine.generation.engine import Engine
from reference_engine.generation.ranks import Leader
from reference_engine.kernels import KernelsError
from reference_engine.kv_cache.memory import MemoryTooSmallError
from reference_engine.model.config import ConfigError
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import Transformer
from reference_engine.server.parts import Parts
from reference_engine.server.settings import ServeSettings


class ServeError(Exception):
    """The server cannot start; the message says why and what to do."""


def load(settings: ServeSettings, shard: Shard = UNSHARDED) -> Transformer:
    """The model of the settings' checkpoint, or a part of it, and the vocabulary with it.

    Raises:
        ServeError: One of them cannot be had, or the device not be used.
    """
    with _said_as_serve_errors():
        _prepare(settings)
        return load_model(
            settings.checkpoint,
            settings.device,
            getattr(torch, settings.dtype) if settings.dtype else None,
            kernels=settings.kernels,
            packed=settings.packed or None,
            shard=shard,
        )


def open_engine(
    settings: ServeSettings, parts: Parts | None = None, leader: Leader | None = None
) -> Backend:
    """Our engine, or the backend that the settings name; not started yet.

    Raises:
        ServeError: It cannot be had.
    """
    if settings.backend.name != "reference":
        return _backend(settings)
    parts, leader = parts or Parts(), leader or Leader()
    with _said_as_serve_errors():
        return Engine(
            parts.model(load(settings, leader.shard)),
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            max_context=settings.max_context,
            prefill_chunk=settings.prefill_chunk,
            memory=settings.memory,
            sampler=parts.sampler,
            forward=leader.forward,
        )


def _backend(settings: ServeSettings) -> Backend:
    from reference_engine.backends.opening import open_backend

    if settings.faults or settings.faults_by_request:
        raise ServeError("--fault changes our own engine: leave out --backend.")
    with _said_as_serve_errors():
        _prepare(settings)
        return open_backend(
            settings.backend,
            checkpoint=settings.checkpoint,
            device=settings.device,
            dtype=settings.dtype,
            max_batch=settings.max_batch,
            max_context=settings.max_context,
            max_queue=settings.max_queue,
        )


def _prepare(settings: ServeSettings) -> None:
    """What has to be there whatever computes: the device, its threads, the vocabulary."""
    on_cuda = settings.device.partition(":")[0] == "cuda"
    if on_cuda and not settings.backend.is_remote and not torch.cuda.is_available():
        raise ServeError("PyTorch sees no CUDA device: use --device cpu, or check the driver.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    harmony_encoding()
    token_bytes()


@contextmanager
def _said_as_serve_errors() -> Iterator[None]:
    try:
        yield
    except (
        BackendUnavailableError,
        CheckpointError,
        ConfigError,
        KernelsError,
        MemoryTooSmallError,
        VocabularyError,
    ) as error:
        raise ServeError(str(error)) from error
