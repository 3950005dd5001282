"""Checkpoints in both layouts are loaded exactly, and errors name the file and the tensor."""

import json
import os
import struct
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import TINY, hf_checkpoint, original_checkpoint, random_transformer

from reference_engine.checkpoint import Checkpoint, load_model
from reference_engine.errors import SetupError
from reference_engine.model import mxfp4
from reference_engine.model.transformer import Transformer

EXPERTS = "model.layers.1.mlp.experts"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A Hugging Face checkpoint and its tensors; copy before breaking it."""
    folder = tmp_path_factory.mktemp("hf")
    return folder, hf_checkpoint(folder)


@pytest.fixture
def broken(written, tmp_path):
    """Rewrite the checkpoint with some tensors changed; None removes a tensor."""
    folder, tensors = written

    def write(changes=None, config=None):
        changed = {**tensors, **(changes or {})}
        kept = {name: tensor for name, tensor in changed.items() if tensor is not None}
        save_file(kept, tmp_path / "model.safetensors")
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        raw |= config or {}
        (tmp_path / "config.json").write_text(json.dumps(raw), encoding="utf-8")
        return tmp_path

    return write


def same_weights(one: Transformer, other: Transformer) -> bool:
    pairs = zip(one.named_parameters(), other.named_parameters(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def with_packed_experts(tensors):
    """Return the same checkpoint with MXFP4 experts, and with the values that they decode to."""
    packed, plain = dict(tensors), dict(tensors)
    for layer in range(3):
        for part in ("gate_up_proj", "down_proj"):
            name = f"model.layers.{layer}.mlp.experts.{part}"
            blocks, scales = mxfp4.encode(tensors[name].mT)
            plain[name] = mxfp4.decode(blocks, scales).mT.contiguous()
            packed[name] = None
            packed |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    return packed, plain


def test_packed_and_plain_experts_load_equally(broken, written):
    packed, plain = with_packed_experts(written[1])
    from_packed = load_model(broken(packed), "cpu", torch.float32)
    assert same_weights(from_packed, load_model(broken(plain), "cpu", torch.float32))


def test_both_layouts_load_equally(broken, written, tmp_path):
    packed, _ = with_packed_experts(written[1])
    hf = load_model(broken(packed), "cpu", torch.float32)
    original_checkpoint(tmp_path / "original", written[1], TINY)
    checkpoint = Checkpoint(tmp_path / "original")
    assert (checkpoint.layout, checkpoint.config.initial_context_length) == ("original", 64)
    original = load_model(tmp_path / "original", "cpu", torch.float32)
    assert same_weights(hf, original)
    tokens = torch.arange(80)[None]
    assert torch.equal(hf(tokens), original(tokens))


def test_shards_with_an_index_are_loaded(written, tmp_path):
    _, tensors = written
    (tmp_path / "config.json").write_bytes((written[0] / "config.json").read_bytes())
    files = {}
    for number, names in enumerate([list(tensors)[::2], list(tensors)[1::2]]):
        file = f"model-{number}.safetensors"
        save_file({name: tensors[name] for name in names}, tmp_path / file)
        files |= dict.fromkeys(names, file)
    whole = load_model(written[0], "cpu", torch.float32)
    assert same_weights(load_model(tmp_path, "cpu", torch.float32), whole)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}), encoding="utf-8")
    assert same_weights(load_model(tmp_path, "cpu", torch.float32), whole)

    wrong = {**files, "lm_head.weight": "model-7.safetensors"}
    index.write_text(json.dumps({"weight_map": wrong}), encoding="utf-8")
    with pytest.raises(SetupError, match=r"index\.json lists 'model-7\.safetensors', which"):
        load_model(tmp_path)
    mixed = dict(zip(files, reversed(files.values()), strict=True))
    index.write_text(json.dumps({"weight_map": mixed}), encoding="utf-8")
    with pytest.raises(SetupError, match=r"lists tensor .* in .*, which does not"):
        load_model(tmp_path)
    for bad in ("{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": "../b.safetensors"}}'):
        index.write_text(bad, encoding="utf-8")
        with pytest.raises(SetupError, match=r"index\.json is broken"):
            load_model(tmp_path)
    index.unlink()
    save_file({"lm_head.weight": tensors["lm_head.weight"]}, tmp_path / "more.safetensors")
    with pytest.raises(SetupError, match=r"'lm_head\.weight' is in both"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.layers.1.self_attn.sinks": None}, ["lacks", "'model.layers.1.self_attn.sinks'"]),
        ({f"{EXPERTS}.down_proj": None}, [f"'{EXPERTS}.down_proj'", "nor", "down_proj_blocks'"]),
        ({"lm_head.weight": torch.zeros(300, 63)}, ["'lm_head.weight'", "[300, 63]", "[300, 64]"]),
        (
            {f"{EXPERTS}.gate_up_proj": torch.zeros(4, 32, 64).mT.contiguous().mT.contiguous()},
            [f"'{EXPERTS}.gate_up_proj'", "[4, 32, 64]", "[4, 64, 64]"],
        ),
        (
            {"model.norm.weight": torch.zeros(64, dtype=torch.int32)},
            ["'model.norm.weight'", "is I32", "F32 or BF16"],
        ),
        (
            {"model.layers.3.self_attn.sinks": torch.zeros(4)},
            ["'model.layers.3.self_attn.sinks'", "is not part of", "num_hidden_layers is 3"],
        ),
        ({"surprise": torch.zeros(1)}, ["'surprise'", "is not part of"]),
    ],
)
def test_errors_name_the_wrong_tensor_and_its_file(broken, changes, words):
    folder = broken(changes)
    with pytest.raises(SetupError) as error:
        load_model(folder, "cpu", torch.float32)
    for word in [*words, str(folder)]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: None, r"lacks tensor '.*down_proj_scales'"),
        (torch.Tensor.float, r"down_proj_scales' in .* is F32, .* U8"),
    ],
)
def test_a_packed_pair_must_be_complete_and_of_bytes(broken, written, change, reason):
    packed, _ = with_packed_experts(written[1])
    name = f"{EXPERTS}.down_proj_scales"
    with pytest.raises(SetupError, match=reason):
        load_model(broken(packed | {name: change(packed[name])}))


def test_a_truncated_file_is_an_error(broken):
    file = broken() / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SetupError, match=r"model\.safetensors cannot be read: .* copy it again"):
        load_model(file.parent)


def header_of(entries: object) -> bytes:
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05",
        struct.pack("<Q", 50) + b"{}",
        b"<!DOCTYPE html>",
        struct.pack("<Q", 2) + b"{]",
        header_of([1]),
        header_of({"a": {"dtype": "F3"}}),
        header_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}),
        header_of({"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}),
    ],
)
def test_errors_name_the_broken_file(broken, content):
    file = broken() / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(SetupError, match="Download or copy it again") as error:
        load_model(file.parent)
    assert str(file) in str(error.value)


def test_errors_name_missing_files(broken, tmp_path):
    with pytest.raises(SetupError, match="is not a folder"):
        load_model(tmp_path / "nowhere")
    folder = broken()
    (folder / "model.safetensors").unlink()
    with pytest.raises(SetupError, match=r"has no \*\.safetensors file"):
        load_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(SetupError, match=r"config\.json does not exist"):
        load_model(folder)


def test_a_wrong_config_is_a_checkpoint_error(broken):
    with pytest.raises(SetupError, match=r"config\.json: num_attention_heads"):
        load_model(broken(config={"num_key_value_heads": 3}))


def test_token_codes_replace_the_embeddings(broken, written, monkeypatch):
    codes = pytest.importorskip("reference_engine.small.codes")
    tables = {"embed_tokens": "model.embed_tokens.weight", "lm_head": "lm_head.weight"}
    _, tensors = written

    def expand(config, stored, table):
        assert config["token_codes"] == {"seed": 5}
        assert stored["token_codes.ids"].tolist() == [1, 2]
        return tensors[tables[table]].to(torch.bfloat16)

    monkeypatch.setattr(codes, "expand", expand)
    stored = {**dict.fromkeys(tables.values()), "token_codes.ids": torch.tensor([1, 2])}
    checkpoint = Checkpoint(broken(stored, config={"token_codes": {"seed": 5}}))
    weight = checkpoint.parameter("unembedding.weight", torch.bfloat16, torch.device("cpu"))
    assert torch.equal(weight, tensors["lm_head.weight"].bfloat16())

    monkeypatch.setattr(codes, "expand", lambda *_: torch.zeros(3, 4))
    with pytest.raises(SetupError, match=r"'lm_head\.weight' to shape \[3, 4\], not to"):
        checkpoint.parameter("unembedding.weight", torch.bfloat16, torch.device("cpu"))


def test_loaded_weights_do_not_depend_on_the_files(broken):
    folder = broken()
    model = load_model(folder, "cpu", torch.float32)
    before = model.unembedding.weight.clone()
    file = folder / "model.safetensors"
    file.write_bytes(bytes(file.stat().st_size))
    assert torch.equal(model.unembedding.weight, before)
    assert not model.unembedding.weight.requires_grad


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_peak_memory_is_close_to_the_loaded_weights(tmp_path):
    """The checkpoint has packed experts; the interpreter's own memory is subtracted."""
    shape = {"vocab_size": 100_000, "hidden_size": 512, "intermediate_size": 1024}
    model = random_transformer(torch.bfloat16, num_local_experts=8, **shape)
    original = {}
    for name, parameter in model.named_parameters():
        original[name] = parameter
        if name.endswith(("mlp1_weight", "mlp2_weight")):
            weight = parameter.mT if "mlp2" in name else parameter
            original[f"{name}.blocks"], original[f"{name}.scales"] = mxfp4.encode(weight)
            del original[name]
    save_file(original, tmp_path / "model.safetensors")
    config = {**TINY, **shape, "num_local_experts": 8}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    script = f"""
        import torch
        from reference_engine.checkpoint import load_model

        def memory(field):
            lines = open("/proc/self/status", encoding="ascii").read().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

        for dtype in (torch.bfloat16, torch.float32):
            before = memory("VmRSS")
            model = load_model({str(tmp_path)!r}, "cpu", dtype)
            held = sum(parameter.nbytes for parameter in model.parameters())
            print((memory("VmHWM") - before) / held)
            del model
    """
    run = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    ratios = [float(line) for line in done.stdout.split()]
    assert len(ratios) == 2
    assert max(ratios) <= 1.2


def test_every_stored_tensor_is_read_exactly(written):
    model = load_model(written[0], "cpu", torch.float32)
    stored = load_file(written[0] / "model.safetensors")
    layer = "model.layers.2"
    assert torch.equal(model.embedding.weight, stored["model.embed_tokens.weight"])
    block = model.block[2]
    assert torch.equal(block.mlp.mlp1_weight, stored[f"{layer}.mlp.experts.gate_up_proj"].mT)
    assert torch.equal(block.mlp.mlp2_weight, stored[f"{layer}.mlp.experts.down_proj"])
    assert torch.equal(block.attn.qkv.weight[64:96], stored[f"{layer}.self_attn.k_proj.weight"])


def with_index(folder, shards="model-00001-of-00001.safetensors"):
    """An index beside `model.safetensors`, as two saves by transformers leave it."""
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors, folder / shards)
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, shards)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("model.safetensors", "model.safetensors.index.json"),
        ("model.safetensors.index.json", "model.safetensors"),
    ],
)
def test_two_sets_of_weights_are_refused_and_the_newer_is_named(broken, newer, older):
    folder = broken()
    with_index(folder)
    os.utime(folder / older, (1_000, 1_000))
    os.utime(folder / newer, (2_000, 2_000))
    with pytest.raises(SetupError, match=f"two sets of weights.*: keep one. {newer} is newer"):
        Checkpoint(folder)


def test_an_index_that_lists_the_single_file_is_no_second_set(broken):
    folder = broken()
    with_index(folder, "model.safetensors")
    Checkpoint(folder)


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"},
         "compressed-tensors, nvfp4-pack-quantized"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "modelopt, NVFP4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
         "bitsandbytes, nf4"),
        ({"quant_method": "fp8", "fmt": "e4m3"}, "fp8, e4m3"),
        ({"bits": 4}, "of an unknown method"),
        ("awq", "awq"),
    ],
)  # fmt: skip
def test_another_quantization_is_named_before_its_tensors(broken, declared, shown):
    folder = broken({f"{EXPERTS}.gate_up_proj": None}, {"quantization_config": declared})
    with pytest.raises(SetupError, match=f"quantization {shown} is not supported; MXFP4, BF16"):
        Checkpoint(folder)


def test_experts_in_floats_under_packed_names_are_read(broken, written):
    """As transformers 5.23 saves them after it has dequantised MXFP4."""
    _, plain = with_packed_experts(written[1])
    moved = dict(plain)
    for name in written[1]:
        if name.endswith(("gate_up_proj", "down_proj")):
            moved |= {name: None, f"{name}_blocks": plain[name]}
    assert same_weights(
        load_model(broken(moved), "cpu", torch.float32),
        load_model(broken(plain), "cpu", torch.float32),
    )


def test_a_scale_that_is_not_a_number_is_named(broken, written):
    packed, _ = with_packed_experts(written[1])
    scales = packed[f"{EXPERTS}.down_proj_scales"].clone()
    scales[3, 0, 0] = 255
    folder = broken({**packed, f"{EXPERTS}.down_proj_scales": scales})
    with pytest.raises(SetupError, match=r"down_proj_scales.*the scale 255.*in expert 3"):
        load_model(folder, "cpu", torch.float32)


def test_a_scale_of_254_is_a_number(broken, written):
    packed, _ = with_packed_experts(written[1])
    scales = torch.full_like(packed[f"{EXPERTS}.down_proj_scales"], 254)
    load_model(broken({**packed, f"{EXPERTS}.down_proj_scales": scales}), "cpu", torch.float32)
