"""Opens a checkpoint folder and reads parameters from it, tensor by tensor."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from reference_engine import mxfp4
from reference_engine.checkpoint.errors import CheckpointError
from reference_engine.checkpoint.names import Layout, Shape, Source, pair_names, sources
from reference_engine.checkpoint.safetensors_file import SafetensorsFile
from reference_engine.config import ConfigError, ModelConfig, read_config

_INDEX = "model.safetensors.index.json"
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_CODES_PREFIX = "token_codes."
_TABLES = ("model.embed_tokens.weight", "lm_head.weight")


class Checkpoint:
    """A checkpoint folder: its configuration, its layout, and its tensors by name.

    Use as a context manager, or call `close`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        try:
            self.raw_config = read_config(path)
            self.config = ModelConfig.from_dict(self.raw_config, source=path / "config.json")
        except ConfigError as error:
            raise CheckpointError(str(error)) from None
        with ExitStack() as stack:
            self._files = _open_files(path, stack)
            self.layout: Layout = "original" if "embedding.weight" in self._files else "hf"
            self._sources = sources(self.config, self.layout)
            self._tables: dict[str, Tensor] = {}
            self._check_names()
            self._stack = stack.pop_all()

    @property
    def parameter_names(self) -> list[str]:
        """Names of the model's parameters."""
        return list(self._sources)

    @property
    def has_token_codes(self) -> bool:
        """Whether the token tables are stored as codes (`reference_engine.small.codes`)."""
        return "token_codes" in self.raw_config

    def parameter(self, name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Reads one of the model's parameters; it owns its memory."""
        source = self._sources[name]
        if self.has_token_codes and source.tensors[0][0] in _TABLES:
            return self._table(source, dtype).to(device)
        if self._has_pair(source):
            return self._unpacked(source, dtype, device)
        return self._plain(source, dtype, device)

    @property
    def packs_experts(self) -> bool:
        """Whether all experts are stored in MXFP4."""
        return all(self._has_pair(source) for source in self._sources.values() if source.packed)

    def packed(self, name: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """Reads experts as they are stored in MXFP4; they own their memory.

        Returns:
            Blocks (experts, out, in / 32, 16) and scales (experts, out, in / 32), uint8.
        """
        with self._pair(self._sources[name]) as (blocks, scales):
            return blocks.to(device, copy=True), scales.to(device, copy=True)

    def close(self) -> None:
        """Closes the files; parameters already read stay valid."""
        self._stack.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _tensor(self, name: str, shape: Shape, dtypes: tuple[torch.dtype, ...]) -> Iterator[Tensor]:
        file = self._files[name]
        entry = file.entries[name]
        if entry.dtype not in dtypes:
            wanted = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
            raise CheckpointError(
                f"Tensor {name!r} in {file.path} is {str(entry.dtype).removeprefix('torch.')}, "
                f"but must be {wanted}."
            )
        if entry.shape != shape:
            raise CheckpointError(
                f"Tensor {name!r} in {file.path} has shape {list(entry.shape)}, but "
                f"{self.path / 'config.json'} asks for {list(shape)}."
            )
        with file.tensor(name) as tensor:
            yield tensor

    def _plain(self, source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
        rows = sum(shape[0] for _, shape in source.tensors)
        rest = source.tensors[0][1][1:]
        out_rest = (*rest[:-2], rest[-1], rest[-2]) if source.transposed else rest
        out = torch.empty((rows, *out_rest), dtype=dtype, device=device)
        begin = 0
        for name, shape in source.tensors:
            with self._tensor(name, shape, _FLOATS) as stored:
                out[begin : begin + shape[0]] = stored.mT if source.transposed else stored
            begin += shape[0]
        return out

    def _has_pair(self, source: Source) -> bool:
        if source.packed is None:
            return False
        return pair_names(source.packed[0], self.layout)[0] in self._files

    @contextmanager
    def _pair(self, source: Source) -> Iterator[tuple[Tensor, Tensor]]:
        """Lends an MXFP4 pair's blocks and scales."""
        assert source.packed is not None
        base, (experts, rows, columns) = source.packed
        blocks_name, scales_name = pair_names(base, self.layout)
        shape = (experts, rows, columns // mxfp4.BLOCK, mxfp4.BLOCK // 2)
        with (
            self._tensor(blocks_name, shape, (torch.uint8,)) as blocks,
            self._tensor(scales_name, shape[:-1], (torch.uint8,)) as scales,
        ):
            yield blocks, scales

    def _unpacked(self, source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Decodes MXFP4 experts one at a time."""
        assert source.packed is not None
        _, (experts, rows, columns) = source.packed
        swap = source.packed_transposed
        shape = (experts, columns, rows) if swap else (experts, rows, columns)
        out = torch.empty(shape, dtype=dtype, device=device)
        with self._pair(source) as (blocks, scales):
            for expert in range(experts):
                weight = mxfp4.decode(blocks[expert].to(device), scales[expert].to(device), dtype)
                out[expert] = weight.mT if swap else weight
        return out

    def _table(self, source: Source, dtype: torch.dtype) -> Tensor:
        """Expands the token codes on first use; each table is handed out once, then forgotten."""
        name, shape = source.tensors[0]
        if name not in self._tables:
            self._tables = dict(self._expand_codes())
        table = self._tables.pop(name, None)
        if table is None or tuple(table.shape) != shape:
            found = "nothing" if table is None else f"shape {list(table.shape)}"
            raise CheckpointError(
                f"The token codes of {self.path} expand {name!r} to {found}, not to {list(shape)}."
            )
        return table.to(dtype)

    def _expand_codes(self) -> dict[str, Tensor]:
        from reference_engine.small import codes

        stored: dict[str, Tensor] = {}
        for name, file in self._files.items():
            if name.startswith(_CODES_PREFIX):
                with file.tensor(name) as tensor:
                    stored[name] = tensor.clone()
        try:
            expanded: dict[str, Tensor] = codes.expand(self.raw_config, stored)
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"The token codes of {self.path} cannot be expanded: {error}."
            ) from error
        return expanded

    def _check_names(self) -> None:
        """Refuses a checkpoint that lacks a tensor or holds one that has no place in the model."""
        allowed: set[str] = set()
        for parameter, source in self._sources.items():
            names = [name for name, _ in source.tensors]
            if self.has_token_codes and names[0] in _TABLES:
                continue
            packed = pair_names(source.packed[0], self.layout) if source.packed else ()
            if any(name in self._files for name in packed):
                names = list(packed)
            missing = [name for name in names if name not in self._files]
            if missing:
                alternative = f" (nor {packed[0]!r})" if packed and names[0] != packed[0] else ""
                raise CheckpointError(
                    f"{self.path} lacks tensor {missing[0]!r}{alternative}, needed for the "
                    f"model's {parameter!r}."
                )
            allowed.update(names)
        for name, file in self._files.items():
            codes = self.has_token_codes and name.startswith(_CODES_PREFIX)
            if name not in allowed and not codes:
                raise CheckpointError(
                    f"Tensor {name!r} in {file.path} has no place in the model that "
                    f"{self.path / 'config.json'} describes{_layer_hint(name, self.config)}."
                )


def _layer_hint(name: str, config: ModelConfig) -> str:
    layer = re.match(r"(?:block|model\.layers)\.(\d+)\.", name)
    if layer and int(layer[1]) >= config.num_hidden_layers:
        return f" (num_hidden_layers is {config.num_hidden_layers})"
    return ""


def _open_files(path: Path, stack: ExitStack) -> dict[str, SafetensorsFile]:
    """Maps every tensor name to the open file that holds it."""
    index = path / _INDEX
    listed = _read_index(index) if index.exists() else None
    paths = sorted(
        {path / file for file in listed.values()} if listed else path.glob("*.safetensors")
    )
    if not paths:
        raise CheckpointError(f"{path} holds no *.safetensors file.")
    for file_path in paths:
        if not file_path.is_file():
            raise CheckpointError(f"{index} names {file_path.name!r}, which is not there.")
    holders: dict[str, SafetensorsFile] = {}
    for file_path in paths:
        file = stack.enter_context(SafetensorsFile(file_path))
        for name in file.entries:
            if name in holders:
                raise CheckpointError(
                    f"Tensor {name!r} is in both {holders[name].path} and {file_path}."
                )
            holders[name] = file
    for name, file_name in (listed or {}).items():
        if name not in holders or holders[name].path.name != file_name:
            raise CheckpointError(
                f"{index} says that tensor {name!r} is in {path / file_name}, but it is not."
            )
    return holders


def _read_index(index: Path) -> dict[str, str]:
    try:
        listed: Any = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError, TypeError):
        listed = None
    named = isinstance(listed, dict) and all(
        isinstance(file, str) and Path(file).name == file for file in listed.values()
    )
    if not named or not listed:
        raise CheckpointError(
            f"{index} is broken: it must be a JSON object whose 'weight_map' gives each tensor's "
            "file in the same folder."
        )
    return dict(listed)
