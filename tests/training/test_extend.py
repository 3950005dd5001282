"""A trained checkpoint learns longer texts and keeps the distributions of ordinary ones."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training import extend, fused, workers
from training.data import Shares, groups
from training.net import Net, Shape
from training.packing import Batch, pack
from training.reopen import reopen
from training.snapshot import Run


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "enabled", False)


@pytest.fixture(scope="module")
def original() -> Run:
    return reopen(extend.SHIPPED)


@pytest.fixture(scope="module")
def batch() -> Batch:
    return pack(next(groups(3, Shares(copy=0.0, long=0.0))))


class _Untrained:
    """A small network without token rows."""

    net = Net(Shape(num_hidden_layers=4))

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return self.net.parameters()


def test_a_gain_scales_both_rows_of_its_pair_in_one_full_attention_layer():
    student = extend.Attention(_Untrained())
    net = student.run.net
    with torch.no_grad():
        student.gains[1, 2, 5] = torch.tensor(3.0).log()
        student.sinks[0, 3] = 0.5
        student.keys[0, 7] = 0.25
    rows = [2 * 64 + 5, 2 * 64 + 5 + 32]
    factor = torch.ones(4, 256)
    factor[3, rows] = 3.0
    sinks, keys = net.sinks.clone(), net.k_proj.clone()
    sinks[1, 3] += 0.5
    keys[1, 7] += 0.25
    wanted = {
        "q_proj": net.q_proj * factor[..., None],
        "q_bias": net.q_bias * factor,
        "k_proj": keys,
        "sinks": sinks,
    }
    torch.testing.assert_close(student.applied(), wanted)


def test_the_loss_of_ordinary_groups_is_zero_without_a_change(original: Run, batch: Batch):
    student = extend.Attention(original)
    unchanged = extend.ordinary_loss(student, original, batch, 2.5).item()
    assert unchanged == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        student.gains -= 1.0
    assert extend.ordinary_loss(student, original, batch, 2.5).item() > 1e-3


def test_a_training_part_writes_a_checkpoint(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(workers, "is_worker", lambda: True)
    monkeypatch.setattr(workers, "join", lambda _count: 0)
    monkeypatch.setattr(workers, "total", list)
    given = ["--processes", "1", "--minutes", "0.001", "--new", "1", "--ordinary", "1"]
    assert extend.main([*given, "--longest", "450", "--out", str(tmp_path)]) == 0
    (line,) = (tmp_path / "log.jsonl").read_text("utf-8").splitlines()
    first = json.loads(line)
    assert first["step"] == 1
    assert first["divergence"] == pytest.approx(0.0, abs=1e-3)
    assert first["new"] > 0
    assert (tmp_path / extend.LEARNED).is_file()
    before = load_file(extend.SHIPPED / "model.safetensors")
    after = load_file(tmp_path / "checkpoint" / "model.safetensors")
    differ = {name for name in before if not torch.equal(before[name], after[name])}
    assert differ
    names = ("q_proj.weight", "q_proj.bias", "k_proj.weight", "sinks")
    assert differ <= {f"model.layers.{at}.self_attn.{name}" for at in (1, 3, 5) for name in names}
