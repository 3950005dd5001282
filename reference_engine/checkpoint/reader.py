"""Reads parameters from a checkpoint folder, tensor by tensor."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reference_engine.checkpoint.layouts import (
    Layout,
    Shape,
    Source,
    pair_names,
    pair_shapes,
    pieces,
    portions,
    sources,
)
from reference_engine.errors import SetupError
from reference_engine.model import mxfp4
from reference_engine.model.config import ModelConfig, read_config
from reference_engine.model.sharding import UNCUT, Cut

if TYPE_CHECKING:
    from reference_engine.small.unembedding import CodedUnembedding

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_QUANTIZATION = ("quant_method", "quant_algo", "format", "bnb_4bit_quant_type", "fmt")
"""The keys that name a quantization in the configurations of transformers 5.23, compressed-tensors,
ModelOpt, bitsandbytes and fp8."""
_DTYPES = {
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "U8": torch.uint8,
}
"""The dtypes of weights, by their safetensors names."""
Wanted = tuple[Shape, tuple[str, ...]]
"""The shape of a stored tensor, and its possible dtypes."""

_NOT_A_NUMBER = 255
"""The scale that stands for NaN in the OCP Microscaling Formats, version 1.0, section 5.4.1."""
_FLOATS: tuple[str, ...] = ("F32", "BF16", "F16")
_PACKED = ("U8",)
_CODES_PREFIX = "token_codes."
_TABLES = {"model.embed_tokens.weight": "embed_tokens", "lm_head.weight": "lm_head"}
"""The tables that token codes replace, with the names of their stored rows."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a safetensors file, with its name there."""

    path: Path
    name: str
    dtype: str  # the name of safetensors
    shape: Shape


class Checkpoint:
    """A checkpoint folder, whose weights are read on demand. Raises SetupError."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise SetupError(f"{path} is not a folder; a checkpoint is a folder with config.json.")
        self.path = path
        self.raw_config = read_config(path)
        require_readable_quantization(self.raw_config, path)
        self.config = ModelConfig.from_dict(self.raw_config, source=path / "config.json")
        self._files = _under_plain_names(_tensors_of(path))
        self.layout: Layout = "original" if "embedding.weight" in self._files else "hf"
        self._sources = sources(self.config, self.layout)
        self._check_names()

    @property
    def parameter_names(self) -> list[str]:
        """The names of the model's parameters."""
        return list(self._sources)

    @property
    def has_token_codes(self) -> bool:
        """Whether the embeddings are stored as token codes (`reference_engine.small.codes`)."""
        return "token_codes" in self.raw_config

    def coded_unembedding(self, dtype: torch.dtype) -> CodedUnembedding:
        """Return the unembedding of a checkpoint with token codes. Raises SetupError."""
        from reference_engine.small.unembedding import CodedUnembedding

        with self._codes() as stored:
            return CodedUnembedding(
                int(self.raw_config["token_codes"]["seed"]),
                stored["token_codes.ids"].long(),
                stored["token_codes.lm_head"].to(dtype),
            )

    def parameter(
        self, name: str, dtype: torch.dtype, device: torch.device, cut: Cut = UNCUT
    ) -> Tensor:
        """Read a parameter, or a slice of it, into new memory."""
        source = self._sources[name]
        if self.has_token_codes and source.tensors[0][0] in _TABLES:
            return cut.of(self._table(source, dtype)).to(device)
        if self._has_pair(source):
            return self._unpacked(name, dtype, device, cut)
        return self._plain(source, dtype, device, cut)

    @property
    def packs_experts(self) -> bool:
        """Whether all experts are stored in MXFP4."""
        return all(self._has_pair(source) for source in self._sources.values() if source.packed)

    def packed(self, name: str, cut: Cut = UNCUT) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the stored MXFP4 blocks (out, in / 32, 16) and scales (out, in / 32) per expert.

        Both are valid until the next iteration.
        """
        source = self._sources[name]
        assert source.packed is not None
        base, (experts, *_) = source.packed
        blocks_name, scales_name = pair_names(base, self.layout)
        for expert in chain.from_iterable(cut.rows or (range(experts),)):
            one = range(expert, expert + 1)
            with self.rows(blocks_name, one) as blocks, self.rows(scales_name, one) as scales:
                if (scales == _NOT_A_NUMBER).any():
                    raise SetupError(
                        f"Tensor {scales_name!r} in {self._files[scales_name].path} has the scale "
                        f"{_NOT_A_NUMBER}, which is not a number, in expert {expert}: the weights "
                        "are damaged; download or copy them again."
                    )
                yield blocks[0], scales[0]

    def nbytes(self, name: str) -> int:
        """Return the size on disk of the tensors of a parameter."""
        source = self._sources[name]
        names = [stored for stored, _ in source.tensors]
        if source.packed and self._has_pair(source):
            names = list(pair_names(source.packed[0], self.layout))
        tensors = [self._files[name] for name in names if name in self._files]
        return sum(math.prod(x.shape) * _DTYPES[x.dtype].itemsize for x in tensors)

    def dtype(self, name: str) -> torch.dtype | None:
        """Return the dtype of a stored tensor, or None if it does not exist."""
        stored = self._files.get(name)
        return _DTYPES[stored.dtype] if stored else None

    @contextmanager
    def rows(self, name: str, rows: range) -> Iterator[Tensor]:
        """Provide rows of a stored tensor.

        The file is open only inside the `with` block, so that its pages do not stay in memory.
        """
        stored = self._files[name]
        with safe_open(stored.path, "pt") as file:
            yield file.get_slice(stored.name)[rows.start : rows.stop]

    def _whole(self, name: str) -> Tensor:
        with safe_open(self._files[name].path, "pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def _plain(self, source: Source, dtype: torch.dtype, device: torch.device, cut: Cut) -> Tensor:
        total = sum(shape[0] for _, shape in source.tensors)
        rest = source.tensors[0][1][1:]
        row_bytes = math.prod(rest) * dtype.itemsize
        wanted = [piece for rows in cut.rows or (range(total),) for piece in pieces(source, rows)]
        if source.transposed:
            rest = (*rest[:-2], rest[-1], rest[-2])
        columns = slice(None)
        if cut.columns is not None:
            columns = slice(cut.columns.start, cut.columns.stop)
            rest = (*rest[:-1], len(cut.columns))
        held = sum(len(piece.rows) for piece in wanted)
        out = torch.empty((held, *rest), dtype=dtype, device=device)
        begin = 0
        for piece in wanted:
            for portion in portions(piece.rows, row_bytes):
                with self.rows(piece.tensor, portion) as stored:
                    part = stored.mT if source.transposed else stored
                    out[begin : begin + len(portion)] = part[..., columns]
                begin += len(portion)
        return out

    def _has_pair(self, source: Source) -> bool:
        if source.packed is None:
            return False
        return pair_names(source.packed[0], self.layout)[0] in self._files

    def _unpacked(self, name: str, dtype: torch.dtype, device: torch.device, cut: Cut) -> Tensor:
        """Decode MXFP4 experts, one at a time."""
        source = self._sources[name]
        assert source.packed is not None
        _, (experts, rows, columns) = source.packed
        held = sum(map(len, cut.rows)) if cut.rows else experts
        swap = source.packed_transposed
        shape = (held, columns, rows) if swap else (held, rows, columns)
        out = torch.empty(shape, dtype=dtype, device=device)
        for place, (blocks, scales) in enumerate(self.packed(name, cut)):
            weight = mxfp4.decode(blocks.to(device), scales.to(device), dtype)
            out[place] = weight.mT if swap else weight
        return out

    def _table(self, source: Source, dtype: torch.dtype) -> Tensor:
        """Expand the token codes of a table."""
        from reference_engine.small import codes

        name, shape = source.tensors[0]
        with self._codes() as stored:
            table = codes.expand(self.raw_config, stored, _TABLES[name])
        if tuple(table.shape) != shape:
            raise SetupError(
                f"The token codes of {self.path} expand {name!r} to shape {list(table.shape)}, not "
                f"to {list(shape)}."
            )
        return table.to(dtype)

    @contextmanager
    def _codes(self) -> Iterator[dict[str, Tensor]]:
        """Provide the tensors of the token codes. Raises SetupError if they cannot be expanded."""
        names = [name for name in self._files if name.startswith(_CODES_PREFIX)]
        try:
            yield {name: self._whole(name) for name in names}
        except (KeyError, ValueError, RuntimeError) as error:
            raise SetupError(
                f"The token codes of {self.path} cannot be expanded: {error}."
            ) from error

    def _required(self, parameter: str, source: Source) -> dict[str, Wanted]:
        """Return the tensors of a parameter by name. Raises SetupError if one is missing."""
        tensors = {name: (shape, _FLOATS) for name, shape in source.tensors}
        alternative = ""
        if source.packed:
            base, decoded = source.packed
            pair = dict(zip(pair_names(base, self.layout), pair_shapes(decoded), strict=True))
            if pair.keys() & self._files.keys():
                tensors = {name: (shape, _PACKED) for name, shape in pair.items()}
            else:
                alternative = f" (nor {next(iter(pair))!r})"
        for name in tensors:
            if name not in self._files:
                raise SetupError(
                    f"{self.path} lacks tensor {name!r}{alternative}, which the model's "
                    f"{parameter!r} requires."
                )
        return tensors

    def _check_names(self) -> None:
        wanted: dict[str, Wanted] = {}
        for parameter, source in self._sources.items():
            if not (self.has_token_codes and source.tensors[0][0] in _TABLES):
                wanted |= self._required(parameter, source)
        for name, tensor in self._files.items():
            if self.has_token_codes and name.startswith(_CODES_PREFIX):
                continue
            if name not in wanted:
                raise SetupError(
                    f"Tensor {name!r} in {tensor.path} is not part of the model that "
                    f"{self.path / 'config.json'} describes{_layer_hint(name, self.config)}."
                )
            shape, dtypes = wanted[name]
            if tensor.dtype not in dtypes:
                raise SetupError(
                    f"Tensor {name!r} in {tensor.path} is {tensor.dtype}, but must be "
                    f"{' or '.join(dtypes)}."
                )
            if tensor.shape != shape:
                raise SetupError(
                    f"Tensor {name!r} in {tensor.path} has shape {list(tensor.shape)}, but "
                    f"{self.path / 'config.json'} requires {list(shape)}."
                )


def _tensors_of(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors of all files, which must be those of the index, if there is one."""
    index = folder / INDEX
    listed = _read_index(index) if index.exists() else {}
    single = folder / SINGLE
    if listed and single.exists() and SINGLE not in listed.values():
        newer, older = sorted((single, index), key=lambda path: -path.stat().st_mtime)
        raise SetupError(
            f"{folder} has two sets of weights, {SINGLE} and those that {INDEX} lists: keep one. "
            f"{newer.name} is newer than {older.name}; transformers reads {SINGLE}."
        )
    paths = sorted({folder / file for file in listed.values()} or folder.glob("*.safetensors"))
    if not paths:
        raise SetupError(f"{folder} has no *.safetensors file.")
    found: dict[str, StoredTensor] = {}
    for path in paths:
        if not path.is_file():
            raise SetupError(f"{index} lists {path.name!r}, which does not exist.")
        try:
            with safe_open(path, "pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            reason = str(error).rstrip(".")
            raise SetupError(
                f"{path} cannot be read: {reason}. Download or copy it again."
            ) from None
        for name, tensor in slices.items():
            if name in found:
                raise SetupError(f"Tensor {name!r} is in both {found[name].path} and {path}.")
            found[name] = StoredTensor(path, name, tensor.get_dtype(), tuple(tensor.get_shape()))
    for name, file_name in listed.items():
        if name not in found or found[name].path.name != file_name:
            raise SetupError(
                f"{index} lists tensor {name!r} in {folder / file_name}, which does not contain it."
            )
    return found


def _under_plain_names(files: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors by name, with experts in floats under the names of experts in floats.

    After transformers 5.23 has dequantised MXFP4 experts, it saves them as `NAME_blocks`.
    """
    blocks = "_blocks"
    return {
        name.removesuffix(blocks) if stored.dtype in _FLOATS else name: stored
        for name, stored in files.items()
    }


def require_readable_quantization(raw: Mapping[str, Any], folder: Path) -> None:
    """Raise SetupError if a configuration declares another quantization than MXFP4."""
    given = raw.get("quantization_config") or raw.get("compression_config") or {}
    if not given or (isinstance(given, dict) and given.get("quant_method") == "mxfp4"):
        return
    named = [given.get(key) for key in _QUANTIZATION] if isinstance(given, dict) else [given]
    shown = ", ".join(str(each) for each in named if each) or "of an unknown method"
    raise SetupError(
        f"{folder / 'config.json'}: the quantization {shown} is not supported; MXFP4, BF16, F16 "
        "and F32 are."
    )


def _read_index(index: Path) -> dict[str, str]:
    try:
        listed: Any = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError, TypeError):
        listed = None
    named = isinstance(listed, dict) and all(
        isinstance(file, str) and Path(file).name == file for file in listed.values()
    )
    if not named or not listed:
        raise SetupError(
            f"{index} is broken: it must be a JSON object whose 'weight_map' maps each tensor to a "
            "file in the same folder."
        )
    return dict(listed)


def _layer_hint(name: str, config: ModelConfig) -> str:
    layer = re.match(r"(?:block|model\.layers)\.(\d+)\.", name)
    if layer and int(layer[1]) >= config.num_hidden_layers:
        return f" (num_hidden_layers is {config.num_hidden_layers})"
    return ""
