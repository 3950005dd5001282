"""Conversion of checkpoints between the layouts."""

import errno
import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import ROPE, hf_checkpoint

from reference_engine.__main__ import main
from reference_engine.checkpoint import load_model, writer
from reference_engine.checkpoint.convert import convert
from reference_engine.checkpoint.export import export_small, write_tokenizer
from reference_engine.errors import SetupError
from reference_engine.model import mxfp4
from reference_engine.model.config import ModelConfig
from reference_engine.small import SMALL_CHECKPOINT


def raw_tensors(folder: Path) -> dict[str, tuple[torch.dtype, tuple[int, ...], bytes]]:
    """Return dtype, shape and bytes of every tensor, read with the safetensors library."""
    found = {}
    for file in folder.glob("*.safetensors"):
        for name, tensor in load_file(file).items():
            data = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            assert name not in found
            found[name] = (tensor.dtype, tuple(tensor.shape), data)
    return found


@pytest.fixture(scope="module", params=["plain", "packed"])
def hf(request, tmp_path_factory) -> Path:
    """A Hugging Face checkpoint in bfloat16, its experts plain or in MXFP4."""
    folder = tmp_path_factory.mktemp(request.param)
    tensors = {name: tensor.bfloat16() for name, tensor in hf_checkpoint(folder).items()}
    if request.param == "packed":
        for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
            blocks, scales = mxfp4.encode(tensors.pop(name).mT)
            tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_converting_back_gives_the_same_bytes(hf, tmp_path):
    convert(hf, tmp_path / "original", "original", shard_bytes=30_000)
    convert(tmp_path / "original", tmp_path / "back", "hf", shard_bytes=50_000)
    assert raw_tensors(tmp_path / "back") == raw_tensors(hf)
    assert raw_tensors(tmp_path / "original") != raw_tensors(hf)
    convert(tmp_path / "back", tmp_path / "again", "original")
    assert raw_tensors(tmp_path / "again") == raw_tensors(tmp_path / "original")
    read = [ModelConfig.from_json(folder) for folder in (hf, *tmp_path.iterdir())]
    assert read[1:] == read[:1] * 3
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["again", "back", "original"]


def test_both_layouts_load_as_the_same_model(hf, tmp_path):
    convert(hf, tmp_path / "original", "original")
    one, other = (load_model(folder, dtype=torch.float32) for folder in (hf, tmp_path / "original"))
    tokens = torch.arange(40)[None]
    assert torch.equal(one(tokens), other(tokens))


def test_shards_are_written_with_an_index(hf, tmp_path):
    convert(hf, tmp_path / "original", "original", shard_bytes=30_000)
    folder = tmp_path / "original"
    index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(files) > 3
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    sizes = dict.fromkeys(files, 0)
    counts = dict.fromkeys(files, 0)
    for file in files:
        with safe_open(folder / file, "pt") as shard:
            assert shard.metadata() == {"format": "pt"}
            for name in shard.keys():  # noqa: SIM118
                assert index["weight_map"].pop(name) == file
                sizes[file] += shard.get_tensor(name).nbytes
                counts[file] += 1
    assert (index["weight_map"], index["metadata"]["total_size"]) == ({}, sum(sizes.values()))
    assert all(size <= 30_000 or counts[file] == 1 for file, size in sizes.items())


def test_the_original_config_has_exactly_the_keys_of_openais_loader(hf, tmp_path):
    convert(hf, tmp_path / "original", "original")
    raw = json.loads((tmp_path / "original" / "config.json").read_text(encoding="utf-8"))
    assert raw == {
        "num_hidden_layers": 3, "num_experts": 4, "experts_per_token": 2, "vocab_size": 300,
        "hidden_size": 64, "intermediate_size": 32, "swiglu_limit": 7.0, "head_dim": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 4,
        "initial_context_length": 64, "rope_theta": 150000.0,
        "rope_scaling_factor": ROPE["factor"], "rope_ntk_alpha": 1.0, "rope_ntk_beta": 32.0,
    }  # fmt: skip


def test_transformers_loads_a_converted_checkpoint(hf, tmp_path):
    from transformers import GptOssForCausalLM

    if "packed" in hf.name:
        pytest.skip("transformers unpacks MXFP4 itself; the bytes are compared above")
    convert(hf, tmp_path / "original", "original")
    convert(tmp_path / "original", tmp_path / "back", "hf")
    theirs = GptOssForCausalLM.from_pretrained(tmp_path / "back", dtype=torch.float32)
    tokens = torch.arange(30)[None]
    ours = load_model(hf, dtype=torch.float32)(tokens)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(tokens).logits, ours, atol=2e-4, rtol=0)


def test_tensors_of_different_dtypes_are_not_joined(hf, tmp_path):
    tensors = load_file(hf / "model.safetensors")
    name = "model.layers.2.self_attn.k_proj.weight"
    save_file(tensors | {name: tensors[name].float()}, tmp_path / "model.safetensors")
    shutil.copy(hf / "config.json", tmp_path)
    with pytest.raises(SetupError, match=r"q_proj.*k_proj.*'block\.2\.attn\.qkv\.weight'"):
        convert(tmp_path, tmp_path / "out", "original")


def test_a_config_that_the_other_layout_cannot_represent_is_an_error(hf, tmp_path):
    shutil.copytree(hf, tmp_path / "hf")
    file = tmp_path / "hf" / "config.json"
    raw = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(raw | {"rms_norm_eps": 1e-6}), encoding="utf-8")
    with pytest.raises(SetupError, match=r"no key for rms_norm_eps"):
        convert(tmp_path / "hf", tmp_path / "out", "original")
    assert not (tmp_path / "out").exists()


def test_errors_are_one_line(hf, tmp_path, monkeypatch, capsys):
    def said(*arguments: object) -> str:
        assert main(["convert", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "is already in the 'hf' layout" in said(hf, tmp_path / "out", "--layout", "hf")
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine", encoding="utf-8")
    assert "not empty" in said(hf, full, "--layout", "original")
    foreign = tmp_path / "out.partial"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine", encoding="utf-8")
    assert "contains files of another program" in said(hf, tmp_path / "out", "--layout", "original")
    assert (foreign / "notes.txt").exists()
    usage = namedtuple("usage", "free")(10)
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: usage)
    assert "free. Free some space" in said(hf, tmp_path / "new", "--layout", "original")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_an_interrupted_conversion_leaves_no_complete_checkpoint(hf, tmp_path, monkeypatch, error):
    def torn(tensors, path, metadata, real=writer.save_file):
        real(tensors, path, metadata)
        assert path == tmp_path / "out.partial" / "model.safetensors"
        raise error

    monkeypatch.setattr(writer, "save_file", torn)
    with pytest.raises((SetupError, KeyboardInterrupt)):
        convert(hf, tmp_path / "out", "original")
    assert list(tmp_path.iterdir()) == []


def test_the_remains_of_a_killed_process_are_removed(hf, tmp_path):
    left = tmp_path / "out.partial"
    left.mkdir()
    (left / "model-00007-of-00009.safetensors").write_bytes(b"torn")
    convert(hf, tmp_path / "out", "original")
    assert not left.exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json", "model.safetensors",
    ]  # fmt: skip


def test_the_error_for_the_small_checkpoint_names_the_export_command(tmp_path):
    with pytest.raises(SetupError, match="export-small"):
        convert(SMALL_CHECKPOINT, tmp_path / "out", "original")


@pytest.mark.slow
def test_converting_the_exported_small_checkpoint_restores_its_tokenizer(tmp_path):
    """All weights are written twice: a smaller checkpoint has no tokenizer of its own."""
    export_small(tmp_path / "original", "original")
    convert(tmp_path / "original", tmp_path / "hf", "hf")
    (tmp_path / "own").mkdir()
    write_tokenizer(tmp_path / "own")
    for name in ("tokenizer.json", "generation_config.json", "chat_template.jinja"):
        assert (tmp_path / "hf" / name).read_bytes() == (tmp_path / "own" / name).read_bytes()
    assert ModelConfig.from_json(tmp_path / "hf") == ModelConfig.from_json(SMALL_CHECKPOINT)
