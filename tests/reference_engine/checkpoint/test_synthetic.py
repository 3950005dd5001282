"""Checkpoints of any size with random weights."""

import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny_model import tiny_config

from reference_engine.__main__ import main
from reference_engine.checkpoint import load_model
from reference_engine.checkpoint.convert import convert, plan
from reference_engine.checkpoint.synthetic import SyntheticWeights, synthesize
from reference_engine.errors import SetupError
from reference_engine.model.config import (
    GPT_OSS_20B,
    GPT_OSS_120B,
    SHAPES,
    ModelConfig,
    shape_named,
)


@pytest.mark.parametrize(
    ("config", "tensors", "size"),
    [(GPT_OSS_20B, 459, 13_761_264_768), (GPT_OSS_120B, 687, 65_248_815_744)],
)
def test_full_sizes_match_the_published_checkpoints(config, tensors, size):
    """`total_size` of model.safetensors.index.json of openai/gpt-oss-20b and -120b."""
    targets = plan(SyntheticWeights(config, 0), "hf")
    assert (len(targets), sum(target.nbytes for target in targets)) == (tensors, size)
    assert sum(target.nbytes for target in plan(SyntheticWeights(config, 0), "original")) == size


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One seed in both layouts, and another seed in one layout."""
    folder = tmp_path_factory.mktemp("synthetic")
    synthesize(tiny_config(), folder / "hf", "hf", seed=3)
    synthesize(tiny_config(), folder / "original", "original", seed=3, shard_bytes=40_000)
    synthesize(tiny_config(), folder / "other", "original", seed=4)
    return folder


def test_a_seed_gives_the_same_model_in_both_layouts(written, tmp_path):
    convert(written / "hf", tmp_path / "converted", "original")
    converted = load_file(tmp_path / "converted" / "model.safetensors")
    drawn = {}
    for file in (written / "original").glob("*.safetensors"):
        drawn |= load_file(file)
    other = load_file(written / "other" / "model.safetensors")
    assert drawn.keys() == converted.keys() == other.keys()
    assert all(torch.equal(drawn[name], converted[name]) for name in drawn)
    assert not torch.equal(drawn["embedding.weight"], other["embedding.weight"])


def test_activations_of_a_deep_random_model_stay_bounded(tmp_path):
    config = tiny_config(num_hidden_layers=24, hidden_size=256, intermediate_size=256)
    synthesize(config, tmp_path / "deep", "hf")
    model = load_model(tmp_path / "deep", dtype=torch.float32)
    stream = model.stream(torch.arange(64)[None], _context(model))
    logits = model.logits(stream)
    assert 0.5 < stream.square().mean().sqrt() < 20
    assert 0.5 < logits.std() < 3


def _context(model):
    from reference_engine.model.transformer import UncachedContext

    return UncachedContext(model.config, torch.arange(64)[None])


def test_shapes_are_found_by_name_or_file(written):
    assert shape_named("120b") == replace(GPT_OSS_20B, num_hidden_layers=36, num_local_experts=128)
    assert set(SHAPES) == {"20b", "120b", "tiny"}
    assert shape_named(str(written / "hf")) == ModelConfig.from_json(written / "original")


def test_errors_are_one_line(tmp_path, capsys):
    assert main(["synthesize", str(tmp_path / "a"), "--shape", "7b"]) == 2
    assert "'7b' is not one of 20b, 120b, tiny" in capsys.readouterr().err
    with pytest.raises(SetupError, match="multiples of 32"):
        synthesize(tiny_config(hidden_size=48), tmp_path / "b", "hf")
    size = ["--shape", "20b", "--shard-size", "0GB"]
    assert main(["synthesize", str(tmp_path / "c"), *size]) == 2
    assert "such as 512MiB or 5GB, not '0GB'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_model(tmp_path):
    """Writes and converts 100 MB of experts in files of 10 MB, and loads them."""
    (tmp_path / "config.json").write_text(
        json.dumps(
            vars(tiny_config(hidden_size=1024, intermediate_size=1024, num_local_experts=24))
        ),
        encoding="utf-8",
    )
    code = """
        import resource, sys, torch
        from pathlib import Path
        from reference_engine.checkpoint import load_model
        from reference_engine.checkpoint.convert import convert
        from reference_engine.model.config import shape_named
        from reference_engine.checkpoint.synthetic import synthesize

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        folder = Path(sys.argv[1])
        shard = 10_000_000
        synthesize(shape_named(str(folder)), folder / "warm", "hf", seed=1, shard_bytes=shard)
        before = peak()
        synthesize(shape_named(str(folder)), folder / "hf", "hf", shard_bytes=shard)
        convert(folder / "hf", folder / "original", "original", shard_bytes=shard)
        print(peak() - before)
        before = peak()
        model = load_model(folder / "hf", dtype=torch.bfloat16, packed=True)
        print(peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    writing, loading = map(int, done.stdout.split())
    size = sum(path.stat().st_size for path in (tmp_path / "hf").glob("*.safetensors"))
    assert size > 100e6
    assert writing < 0.3 * size
    assert loading < 1.2 * size
