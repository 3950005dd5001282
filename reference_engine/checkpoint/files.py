"""The files of a checkpoint folder: shards, and the index that says which tensor is in which."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from reference_engine.checkpoint.errors import CheckpointError
from reference_engine.checkpoint.safetensors_file import SafetensorsFile

INDEX = "model.safetensors.index.json"


def open_files(path: Path, stack: ExitStack) -> dict[str, SafetensorsFile]:
    """Maps every tensor name of a folder to the file that holds it, open until the stack closes.

    Raises:
        CheckpointError: There is none, or the index does not fit what is there.
    """
    index = path / INDEX
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
