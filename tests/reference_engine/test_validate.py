"""`python -m reference_engine validate`, on the small checkpoint and on damaged copies of it."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import hf_checkpoint

from harmony.vocabulary import encode
from reference_engine import validation
from reference_engine.__main__ import main
from reference_engine.checkpoint.download import sha256_of
from reference_engine.checkpoint.synthetic import synthesize
from reference_engine.errors import SetupError
from reference_engine.generation.sampling import Token
from reference_engine.known_texts import COPIED, KNOWN, OPENING
from reference_engine.model.config import TINY, ModelConfig
from reference_engine.scoring import identity
from reference_engine.server.settings import SMALL_CHECKPOINT
from reference_engine.small.export import export_small

WEIGHTS = "model.safetensors"
TEXTS = ("known continuations", "fixed text")


def checked(capsys, folder, *options, dtype="float32"):
    """The exit status, the verdict as JSON, and the status of each check."""
    status = main(["validate", str(folder), "--dtype", dtype, "--json", *options])
    found = json.loads(capsys.readouterr().out)
    return status, found, {check["name"]: check["status"] for check in found["checks"]}


@pytest.fixture
def copied(tmp_path):
    """A copy of the small checkpoint: its folder, its tensors, and a function that stores them."""
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(SMALL_CHECKPOINT / "config.json", folder)
    tensors = load_file(SMALL_CHECKPOINT / WEIGHTS)

    def store():
        save_file(tensors, folder / WEIGHTS)
        return folder

    return folder, tensors, store


def test_the_small_checkpoint_is_valid(capsys):
    for dtype in ("float32", "bfloat16"):
        status, found, checks = checked(capsys, SMALL_CHECKPOINT, dtype=dtype)
        assert (status, found["verdict"]) == (0, "valid")
        assert checks.pop("hashes") == "not compared"
        assert checks == dict.fromkeys(("files", "configuration", "tensors", *TEXTS), "passed")
        values = {name: value for each in found["checks"] for name, value in each["values"].items()}
        assert values["weights_sha256"] == identity(SMALL_CHECKPOINT)
        assert values["largest_gap"] < 0.5
        assert values["mean_logprob"] > -0.05


def test_an_exported_checkpoint_is_valid(tmp_path, capsys):
    export_small(tmp_path / "out", "original")
    assert main(["validate", str(tmp_path / "out")]) == 0
    table = capsys.readouterr().out
    assert table.startswith("check ")
    assert table.endswith(f"{tmp_path / 'out'} is valid: 5 checks passed\n")


def test_a_given_hash_must_match_the_checkpoint(capsys):
    right = identity(SMALL_CHECKPOINT)
    status, _, checks = checked(capsys, SMALL_CHECKPOINT, "--sha256", right.upper())
    assert (status, checks["hashes"]) == (0, "passed")
    status, found, checks = checked(capsys, SMALL_CHECKPOINT, "--sha256", "0" * 64)
    assert (status, checks["hashes"]) == (1, "failed")
    assert "0" * 64 in found["reason"]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({WEIGHTS: sha256_of(SMALL_CHECKPOINT / WEIGHTS)}, (0, "passed")),
        ({WEIGHTS: "0" * 64}, (1, "failed")),
        ({"model-00000-of-00001.safetensors": "0" * 64}, (4, "not verifiable")),
    ],
)
def test_the_hashes_of_the_hub_are_compared(listed, expected, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        validation, "published_hashes", lambda *of: asked.append(of) or dict(listed)
    )
    status, _, checks = checked(capsys, SMALL_CHECKPOINT, "--hub", "gpt-oss-20b")
    assert (status, checks["hashes"]) == expected
    assert asked == [("gpt-oss-20b", "hf")]


def noise(tensors):
    name = "model.layers.3.self_attn.o_proj.weight"
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(tensors[name].shape, generator=generator)
    tensors[name] = (drawn * tensors[name].float().std()).to(tensors[name].dtype)


def swapped_layers(tensors):
    for name in [name for name in tensors if name.startswith("model.layers.2.")]:
        other = name.replace(".2.", ".4.", 1)
        tensors[name], tensors[other] = tensors[other], tensors[name]


def not_a_number(tensors):
    tensors["model.layers.0.self_attn.sinks"].fill_(float("nan"))


@pytest.mark.parametrize("damage", [noise, swapped_layers, not_a_number])
def test_damaged_weights_are_not_valid(damage, copied, capsys):
    _, tensors, store = copied
    damage(tensors)
    status, found, checks = checked(capsys, store())
    assert (status, found["verdict"]) == (1, "not valid")
    assert "failed" in {checks[name] for name in TEXTS}
    assert checks["tensors"] == "passed"


def test_a_wrong_rope_configuration_is_not_valid(copied, capsys):
    folder, _, store = copied
    store()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["rope_theta"] = 10_000.0
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    status, found, checks = checked(capsys, folder)
    assert status == 1
    assert "rope_theta is 10000.0, not 150000.0" in found["reason"]
    assert [checks[name] for name in ("configuration", *TEXTS)] == ["failed"] * 3


def truncated(folder, _):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1000])


def without_weights(folder, _):
    (folder / WEIGHTS).unlink()


def without_shard(folder, tensors):
    table = dict.fromkeys(tensors, WEIGHTS) | {"model.norm.weight": "model-2.safetensors"}
    index = json.dumps({"weight_map": table})
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")


def without_config(folder, _):
    (folder / "config.json").unlink()


def of_another_kind(folder, _):
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")


def without_tensor(folder, tensors):
    del tensors["model.norm.weight"]
    save_file(tensors, folder / WEIGHTS)


def of_another_shape(folder, tensors):
    tensors["model.norm.weight"] = torch.zeros(3)
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("change", "failed", "words"),
    [
        (truncated, "files", "model.safetensors is truncated"),
        (without_weights, "files", "has no *.safetensors file"),
        (without_shard, "files", "lists 'model-2.safetensors', which does not exist"),
        (without_config, "files", "config.json does not exist"),
        (of_another_kind, "configuration", "model_type is 'llama'"),
        (without_tensor, "tensors", "lacks tensor 'model.norm.weight'"),
        (of_another_shape, "tensors", "'model.norm.weight'"),
    ],
)
def test_an_incomplete_checkpoint_is_not_valid(change, failed, words, copied, capsys):
    folder, tensors, store = copied
    store()
    change(folder, tensors)
    status, found, checks = checked(capsys, folder)
    assert (status, found["verdict"]) == (1, "not valid")
    assert next(iter(checks)) == "files"
    assert list(checks.items())[-1] == (failed, "failed")
    assert words in found["reason"]


def test_random_weights_in_the_layers_of_20b_are_not_valid(tmp_path, capsys):
    shape = replace(TINY, num_hidden_layers=24, num_local_experts=32, num_experts_per_tok=4)
    synthesize(shape, tmp_path / "random", "hf")
    status, found, checks = checked(capsys, tmp_path / "random")
    assert (status, found["verdict"]) == (1, "not valid")
    assert [checks[name] for name in ("configuration", *TEXTS)] == ["failed"] * 3
    assert "not that of gpt-oss-20b: hidden_size is 64, not 2880" in found["reason"]
    assert checks["tensors"] == "passed"


def test_random_weights_of_an_unknown_shape_copy_nothing(tmp_path, capsys):
    synthesize(TINY, tmp_path / "random", "original")
    status, _, checks = checked(capsys, tmp_path / "random")
    assert status == 1
    assert [checks[name] for name in ("configuration", *TEXTS)] == [
        "not compared", "not verifiable", "failed",
    ]  # fmt: skip


def test_a_model_with_another_vocabulary_is_not_verifiable(tmp_path, capsys):
    hf_checkpoint(tmp_path)
    status, found, checks = checked(capsys, tmp_path)
    assert (status, found["verdict"]) == (4, "not verifiable")
    assert [checks[name] for name in TEXTS] == ["not verifiable"] * 2


def test_an_unknown_model_that_copies_is_not_verifiable(monkeypatch, capsys):
    monkeypatch.setattr(validation, "known_model", lambda _: None)
    status, found, checks = checked(capsys, SMALL_CHECKPOINT)
    assert (status, checks["fixed text"]) == (4, "passed")
    assert found["reason"].startswith("known continuations: no known continuations")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "nowhere is not a folder"),
        ((str(SMALL_CHECKPOINT), "--sha256", "abc"), "--sha256 must be 64 hexadecimal digits"),
        ((str(SMALL_CHECKPOINT), "--hub", "llama"), "nor a repository as owner/name"),
        ((str(SMALL_CHECKPOINT), "--device", "tpu"), "Choose from: cpu, cuda, mps"),
    ],
)
def test_usage_errors_are_one_line(arguments, words, capsys):
    assert main(["validate", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error


def test_a_model_that_does_not_fit_is_an_error(monkeypatch, capsys):
    def load(_):
        raise RuntimeError("not enough memory: you tried to allocate 80 GB.\nmore")

    monkeypatch.setattr(validation, "load", load)
    assert main(["validate"]) == 2
    assert "on cpu: not enough memory: you tried to allocate 80 GB.\n" in capsys.readouterr().err


def test_the_known_texts_are_suitable():
    continued = {
        known.name: [len(encode(text)) for _, text in known.continuations] for known in KNOWN
    }
    assert continued["gpt-oss-20b"] == [12, 20]
    assert continued["gpt-oss-120b"] == [15, 20]
    for prompt, text in (pair for known in KNOWN for pair in known.continuations):
        assert encode(prompt) + encode(text) == encode(prompt + text)
    small = ModelConfig.from_json(SMALL_CHECKPOINT)
    assert small in [known.config for known in KNOWN]
    for text in COPIED:
        assert len(encode(text)) + len(encode(OPENING)) > small.sliding_window


@pytest.mark.parametrize(
    ("gap", "status"),
    [(0.0, "passed"), (1.99, "passed"), (2.01, "failed"), (float("nan"), "failed")],
)
def test_a_known_token_may_be_two_nats_below_the_best(gap, status, monkeypatch):
    token = Token(5, -0.5 - gap, ((6, -0.5),))
    monkeypatch.setattr(
        validation, "score_completion", lambda *_: [Token(6, -1.0, ((6, -1.0),)), token]
    )
    model = SimpleNamespace(config=KNOWN[0].config)
    assert validation.text_checks(model)[0].status == status


def test_unreadable_hub_is_an_error(monkeypatch, capsys):
    def unreachable(*_):
        raise SetupError("openai/gpt-oss-20b could not be looked up (the Hub is unreachable).")

    monkeypatch.setattr(validation, "published_hashes", unreachable)
    assert main(["validate", "--hub", "gpt-oss-20b"]) == 2
    assert "could not be looked up" in capsys.readouterr().err
