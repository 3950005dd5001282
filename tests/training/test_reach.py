"""Gains that let a trained checkpoint attend over longer texts."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from training import fused, reach
from training.net import Net, Shape


def test_a_gain_scales_both_rows_of_its_pair_in_one_full_attention_layer():
    net = Net(Shape(num_hidden_layers=4))
    learned = reach.Reach(net)
    with torch.no_grad():
        learned.gains[1, 2, 5] = torch.tensor(3.0).log()
        learned.sinks[0, 3] = 0.5
    changed = learned.applied(net)
    rows = [2 * 64 + 5, 2 * 64 + 5 + 32]
    factor = torch.ones(4, 256)
    factor[3, rows] = 3.0
    torch.testing.assert_close(changed["q_proj"], net.q_proj * factor[..., None])
    torch.testing.assert_close(changed["q_bias"], net.q_bias * factor)
    sinks = net.sinks.detach().clone()
    sinks[1, 3] += 0.5
    torch.testing.assert_close(changed["sinks"], sinks)


def test_a_part_learns_gains_and_ships_them_in_the_weights(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(fused, "enabled", False)
    monkeypatch.setattr(reach, "_GROUPS_PER_STEP", 1)
    monkeypatch.setattr(reach, "_LOG_STEPS", 1)
    assert reach.main(["--out", str(tmp_path), "--steps", "2", "--longest", "400"]) == 0
    learned = torch.load(tmp_path / "reach.pt", weights_only=True)
    assert learned["gains"].abs().max() > 0.01
    lines = (tmp_path / "log.jsonl").read_text("utf-8").splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == [1, 2]
    before = load_file(reach.SHIPPED / "model.safetensors")
    after = load_file(tmp_path / "checkpoint" / "model.safetensors")
    differ = {name for name in before if not torch.equal(before[name], after[name])}
    names = ("q_proj.weight", "q_proj.bias", "sinks")
    layers = (1, 3, 5)
    allowed = {f"model.layers.{at}.self_attn.{name}" for at in layers for name in names}
    assert differ
    assert differ <= allowed


def test_no_step_changes_nothing(tmp_path: Path):
    assert reach.main(["--out", str(tmp_path), "--steps", "0"]) == 0
    before = load_file(reach.SHIPPED / "model.safetensors")
    after = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
