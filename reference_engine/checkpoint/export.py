"""Exports the small checkpoint in an ordinary layout, for engines that do not support token codes.

The tokenizer files come from the o200k vocabulary: `small/tokenizer.json` has the settings without
the vocabulary, including the pattern by which o200k splits text before it merges bytes.
`tokenizer_config.json` is complete. Its entry `response_template` tells transformers how to parse
harmony. Without it, its server (5.23) returns the raw text: `analysisThe user wants …`.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from harmony.vocabulary import harmony_encoding, token_ids
from reference_engine.checkpoint.layouts import (
    GENERATION_CONFIG,
    Layout,
    config_file,
    pair_names,
    sources,
)
from reference_engine.checkpoint.reader import Checkpoint
from reference_engine.checkpoint.writer import write_json
from reference_engine.small import SMALL_CHECKPOINT

FIRST_SPECIAL, SPECIALS = 199_998, 21
_FILES = SMALL_CHECKPOINT.parent
_MARKED = ("bos_token", "eos_token", "pad_token")


@cache
def _letters() -> tuple[str, ...]:
    """Return the printable character of each byte in byte-level tokenizers."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))


def _written(token: bytes) -> str:
    letters = _letters()
    return "".join(letters[byte] for byte in token)


def _merges() -> list[list[str]]:
    """Return every pair of tokens that merges into a token, in the order of the merged tokens."""
    ranks = token_ids()
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        halves = [(token[:at], token[at:]) for at in range(1, len(token))]
        known = [pair for pair in halves if pair[0] in ranks and pair[1] in ranks]
        known.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [[_written(left), _written(right)] for left, right in known]
    return merges


def special_tokens() -> dict[int, str]:
    """Return the special tokens by ID."""
    encoding = harmony_encoding()
    ids = range(FIRST_SPECIAL, FIRST_SPECIAL + SPECIALS)
    return {token: str(encoding.decode([token])) for token in ids}


def tokenizer_json() -> dict[str, Any]:
    """Return the content of tokenizer.json."""
    added = [
        {
            "id": token,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token, text in special_tokens().items()
    ]
    content: dict[str, Any] = json.loads((_FILES / "tokenizer.json").read_text(encoding="utf-8"))
    content["added_tokens"] = added
    content["model"]["vocab"] = {_written(token): rank for token, rank in token_ids().items()}
    content["model"]["merges"] = _merges()
    return content


def write_tokenizer(folder: Path) -> None:
    """Write the tokenizer's JSON files, the chat template and generation_config.json."""
    config = json.loads((_FILES / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(folder / "tokenizer.json", tokenizer_json(), indent=None)
    write_json(folder / "special_tokens_map.json", {name: config[name] for name in _MARKED})
    write_json(folder / "generation_config.json", GENERATION_CONFIG)
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((_FILES / name).read_bytes())


_CODES = "token_codes"
_TRANSFORMERS = "5.23.0"
"""The version that the export is tested with. Without a version in `config.json`, transformers
warns that the tokenizer may split text incorrectly."""


def export_small(dest: Path | str, layout: Layout = "hf") -> Path:
    """Write an ordinary checkpoint with all token rows (about 160 MB); returns its folder.

    The layout `hf` stores the experts in bfloat16, which represents MXFP4 values exactly and needs
    no additional package, and includes tokenizer, chat template and generation settings. `original`
    stores the experts in MXFP4.
    """
    folder = Path(dest)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(SMALL_CHECKPOINT)
    tensors = dict(_tensors(checkpoint, layout))
    if layout == "original":
        content = config_file(checkpoint.config, layout, packed=True, path=SMALL_CHECKPOINT)
    else:
        content = checkpoint.raw_config | {"transformers_version": _TRANSFORMERS}
        del content[_CODES], content["quantization_config"]
        write_tokenizer(folder)
    write_json(folder / "config.json", content)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    return folder


def _tensors(checkpoint: Checkpoint, layout: Layout) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a layout, with the experts of OpenAI's layout in MXFP4."""
    for name, target in sources(checkpoint.config, layout).items():
        if target.packed and layout == "original":
            pairs = zip(*[(b.clone(), s.clone()) for b, s in checkpoint.packed(name)], strict=True)
            yield from zip(pair_names(name, layout), map(torch.stack, pairs), strict=True)
            continue
        value = checkpoint.parameter(name, torch.bfloat16, torch.device("cpu"))
        value = value.mT if target.transposed else value
        begin = 0
        for tensor, (rows, *_) in target.tensors:
            yield tensor, value[begin : begin + rows].contiguous()
            begin += rows
