"""Writes the Hugging Face tokenizer files of gpt-oss from the o200k vocabulary."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from harmony.vocabulary import harmony_encoding
from reference_engine.small.codes import token_ranks

FIRST_SPECIAL, SPECIALS = 199_998, 21
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_SHORT_FORMS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
SPLIT = "|".join(
    (
        f"{_LEAD}{_UPPER}*{_LOWER}+{_SHORT_FORMS}",
        f"{_LEAD}{_UPPER}+{_LOWER}*{_SHORT_FORMS}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
"""The pattern by which o200k splits text before it merges bytes."""

RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|start|>assistant",
    "fields": {
        "reasoning_content": {
            "open": "<|channel|>analysis<|message|>",
            "close_pattern": r"<\|end\|>(?:<\|start\|>assistant)?",
            "content": "text",
        },
        "tool_calls": {
            "open_pattern": r"(?:<\|channel\|>commentary)? to=functions\.(?P<name>[^\s<]+)[^<]*"
            r"(?:<\|channel\|>commentary[^<]*)?(?:<\|constrain\|>\w+)?<\|message\|>",
            "close": "<|call|>",
            "repeats": True,
            "content": "json",
            "transform": {
                "type": "function",
                "function": {"name": "{name}", "arguments": "{content}"},
            },
        },
        "content": {
            "open": "<|channel|>final<|message|>",
            "close_pattern": r"<\|(?:return|end)\|>",
            "content": "text",
        },
    },
}
"""Tells transformers how to parse harmony. Without this entry, its server (5.23) returns the raw
text: `analysisThe user wants …`."""


@cache
def _letters() -> tuple[str, ...]:
    """Returns the printable character of each byte in byte-level tokenizers."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))


def _written(token: bytes) -> str:
    letters = _letters()
    return "".join(letters[byte] for byte in token)


def _merges() -> list[list[str]]:
    """Returns every pair of tokens that merges into a token, in the order of the results."""
    ranks = token_ranks()
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        halves = [(token[:at], token[at:]) for at in range(1, len(token))]
        known = [pair for pair in halves if pair[0] in ranks and pair[1] in ranks]
        known.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [[_written(left), _written(right)] for left, right in known]
    return merges


def special_tokens() -> dict[int, str]:
    """Returns the special tokens by ID."""
    encoding = harmony_encoding()
    ids = range(FIRST_SPECIAL, FIRST_SPECIAL + SPECIALS)
    return {token: str(encoding.decode([token])) for token in ids}


def tokenizer_json() -> dict[str, Any]:
    """Returns the content of tokenizer.json."""
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
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split, byte_level | {"use_regex": False}],
        },
        "post_processor": byte_level | {"use_regex": True},
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": {_written(token): rank for token, rank in token_ranks().items()},
            "merges": _merges(),
        },
    }


def write_tokenizer(folder: Path) -> None:
    """Writes tokenizer.json, tokenizer_config.json, special_tokens_map.json and the template."""
    template = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
    marked = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|return|>",
        "pad_token": "<|endoftext|>",
    }
    config = marked | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131_072,
        "response_template": RESPONSE_TEMPLATE,
    }
    files: dict[str, object] = {
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": config,
        "special_tokens_map.json": marked,
    }
    for name, content in files.items():
        text = json.dumps(
            content, ensure_ascii=False, indent=2 if name != "tokenizer.json" else None
        )
        (folder / name).write_text(text + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
