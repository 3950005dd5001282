"""The trainer: its network equals the engine's, and its batches and losses are correct."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harmony.vocabulary import encode
from reference_engine.checkpoint import load_model
from reference_engine.model import mxfp4
from reference_engine.small import codes
from training import fused, loop, ship, snapshot, workers
from training.__main__ import main
from training.data import Group, Shares, groups
from training.loss import look_alikes
from training.net import Shape
from training.optim import orthogonalize
from training.packing import ROUND, pack
from training.precision import COMPUTE
from training.quantize import fake_quantize, round_to_mxfp4
from training.reopen import reopen
from training.schedule import Schedule
from training.ship import tensors_of, write_checkpoint


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run without compiled kernels, so no compiler and no compile time is needed."""
    monkeypatch.setattr(fused, "enabled", False)


@pytest.fixture(scope="module")
def group() -> Group:
    return next(groups(5, Shares(copy=0.0)))


@pytest.fixture(scope="module")
def ids() -> list[int]:
    """The ids of the rows of `run`, counted once because counting takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "_COUNTED_GROUPS", 20)
        patch.setattr(snapshot, "_IN_LINES", 20)
        patch.setattr(snapshot, "_IN_REQUESTS", 100)
        return snapshot.frequent_ids(3)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, ids: list[int]) -> snapshot.Run:
    monkeypatch.setattr(snapshot, "frequent_ids", lambda _: ids)
    run = snapshot.start(3, Shape(num_hidden_layers=4))
    with torch.no_grad():
        for parameter in run.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        run.net.sinks.add_(torch.randn_like(run.net.sinks))
        run.rows.embed_delta[-1] = 0
    return run


def test_a_packed_group_contains_every_token_and_target(group: Group) -> None:
    batch = pack(group)
    assert len(batch.ids) % ROUND == batch.cut % ROUND == 0
    assert batch.ids[: batch.prefix].tolist() == list(group.prefix)
    for number, example in enumerate(group.examples):
        mine = batch.example_of == number
        assert tuple(batch.targets[mine].tolist()) == example.completion
        before = batch.ids[batch.target_at[mine]].tolist()
        assert before == [example.prompt[-1], *example.completion[:-1]]
        assert (
            batch.positions[batch.target_at[mine]][0] == len(group.prefix) + len(example.prompt) - 1
        )
    examples = batch.ids[batch.cut :]
    again = examples[batch.pad_index][batch.slots]
    assert again.tolist() == examples[: len(batch.slots)].tolist()


@pytest.mark.usefixtures("eager")
def test_the_network_equals_the_engines(tmp_path: Path, run: snapshot.Run, group: Group) -> None:
    write_checkpoint(run, tmp_path)
    engine = load_model(tmp_path, dtype=torch.float32)
    batch = pack(group)
    with torch.no_grad():
        states, _ = run.net(run.rows.embed(batch.ids), batch, quantize=True)
        rows = run.rows.unembedding.float()
        rows[run.rows.ids] += run.rows.unembed_delta
        for number in (0, 5):
            example = group.examples[number]
            ids = torch.tensor([group.prefix + example.prompt + example.completion[:-1]])
            theirs = engine(ids)[0, -len(example.completion) :].log_softmax(-1)
            mine = states[: len(batch.targets)][batch.example_of == number].float() @ rows.T
            gap = (mine.log_softmax(-1) - theirs).abs()
            # Rounding the weights sometimes changes a router's choice between near ties.
            assert (gap.amax(-1) < 0.05 * theirs.abs().max()).float().mean() > 0.8
            assert gap.mean() < 0.01 * theirs.abs().mean()


@pytest.mark.usefixtures("eager")
def test_the_sampled_loss_estimates_the_full_loss(run: snapshot.Run) -> None:
    torch.manual_seed(0)
    states = torch.randn(40, codes.WIDTH).mul(0.1).to(COMPUTE)
    targets = torch.randint(codes.VOCAB_SIZE, (40,))
    rows = run.rows.unembedding.float()
    rows[run.rows.ids] += run.rows.unembed_delta
    whole = torch.nn.functional.cross_entropy(states.float() @ rows.T, targets)
    sampled = run.rows.loss(states, targets, targets).mean()
    assert abs(sampled - whole) < 0.05 * whole


def token(text: str) -> int:
    (only,) = encode(text)
    return only


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        ("Paris", {"Paris", " Paris"}),
        (" Paris", {"Paris", " Paris"}),
        (" Lisbon", {"Lis", " Lis", "bon", " bon"}),
    ],
)
def test_a_token_resembles_its_pieces_with_and_without_a_space(text: str, alike: set[str]) -> None:
    assert set(look_alikes()[token(text)].tolist()) == set(map(token, alike))


def test_rows_similar_to_a_target_are_always_candidates(run: snapshot.Run) -> None:
    untrained = [one for one in range(5000, 5400) if run.rows.row_of[one] == len(run.rows.ids)]
    targets = torch.tensor(untrained)
    rows, correction, _ = run.rows.candidates(targets, targets)
    surely = {tuple(row) for row in rows[correction == 0].tolist()}
    for alike in look_alikes()[untrained].flatten():
        if run.rows.row_of[alike] == len(run.rows.ids):
            assert tuple(run.rows.unembedding[alike].float().tolist()) in surely


@pytest.mark.usefixtures("eager")
def test_the_loss_has_the_gradient_of_a_cross_entropy(run: snapshot.Run) -> None:
    states = torch.randn(8, codes.WIDTH).mul(0.2).to(COMPUTE).requires_grad_()
    targets = torch.arange(100, 108)
    torch.manual_seed(1)
    run.rows.loss(states, targets, targets).sum().backward()
    torch.manual_seed(1)
    rows, correction, places = run.rows.candidates(targets, targets)
    expected = states.detach().float().requires_grad_()
    logits = expected @ rows.detach().T + correction
    torch.nn.functional.cross_entropy(logits, places, reduction="sum").backward()
    assert states.grad is not None
    assert expected.grad is not None
    assert (states.grad - expected.grad).norm() < 0.02 * expected.grad.norm()


@pytest.mark.usefixtures("eager")
def test_training_steps_lower_the_loss(run: snapshot.Run) -> None:
    batch = pack(next(groups(8, Shares(copy=1.0))))
    losses = []
    for _ in range(6):
        states, balance = run.net(run.rows.embed(batch.ids), batch, quantize=False)
        loss = run.rows.loss(states, batch.targets, batch.ids).mean() + 0.01 * balance
        torch.autograd.backward(loss)
        losses.append(loss.item())
        for optimizer in run.optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.usefixtures("eager")
def test_full_attention_can_be_frozen(
    tmp_path: Path, run: snapshot.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "total", list)
    monkeypatch.setattr(loop, "_PROBE_GROUPS", 1)
    before = [parameter.detach().clone() for parameter in (run.net.q_proj, run.net.sinks)]
    shares = Shares(copy=0.0, long=0.0, builtin=1.0, client=0.0)
    trainer = loop.Trainer(
        run, Schedule(1), seed=3, rank=0, out=tmp_path, tokens_per_step=4000, shares=shares,
        keep_attention=True,
    )  # fmt: skip
    trainer._step()
    assert run.progress.tokens >= 4000
    for old, new in zip(before, (run.net.q_proj, run.net.sinks), strict=True):
        assert torch.equal(old[1::2], new[1::2])
        assert not torch.equal(old[::2], new[::2])


def test_a_snapshot_is_restored_and_accepts_more_rows(tmp_path: Path, run: snapshot.Run) -> None:
    for parameter in run.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert run.rows.embed_delta.grad is not None
    run.rows.embed_delta.grad[-1] = 0
    for optimizer in run.optimizers:
        optimizer.step()
    run.progress.step = 7
    snapshot.save(run, tmp_path / "a.pt")
    same = snapshot.load(tmp_path / "a.pt")
    assert same.progress == run.progress
    for mine, theirs in zip(run.parameters(), same.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    more = snapshot.load(tmp_path / "a.pt", more_ids=[11, 150_001, 150_003])
    old = more.rows.row_of[run.rows.ids]
    assert torch.equal(more.rows.unembed_delta[old], run.rows.unembed_delta)
    for parameter in more.parameters():
        parameter.grad = torch.ones_like(parameter)
    for optimizer in more.optimizers:
        optimizer.step()


def test_training_continues_from_a_shipped_folder(tmp_path: Path, run: snapshot.Run) -> None:
    assert len(run.rows.ids) < ship.MOST_ROWS
    write_checkpoint(run, tmp_path, sharpen=2.5)
    facts = {"steps": 70, "minutes": 3.5, "tokens": 900, "sharpen": 2.5}
    (tmp_path / "provenance.json").write_text(json.dumps(facts))
    again = reopen(tmp_path, more_ids=[11, 150_001])
    assert again.progress == snapshot.Progress(70, 3.5, 900, began=70)
    assert {11, 150_001} <= {*again.rows.ids.tolist()}
    same = reopen(tmp_path)
    assert torch.equal(same.rows.ids, run.rows.ids)
    old, new = tensors_of(run, sharpen=2.5), tensors_of(same, sharpen=2.5)
    assert all(torch.equal(old[name], new[name]) for name in old if "norm" not in name)
    assert torch.allclose(old["model.norm.weight"], new["model.norm.weight"], rtol=0.01)


@pytest.mark.parametrize("name", ["nowhere.pt", "."])
def test_an_unusable_starting_point_is_reported_in_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--out", str(tmp_path / "out"), "--resume", str(tmp_path / name)]
    with pytest.raises(SystemExit, match="2"):
        main(given)
    assert "is neither a snapshot nor the folder of a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_rows_that_training_moved_most_are_stored(run: snapshot.Run) -> None:
    with torch.no_grad():
        run.rows.embed_delta[3] += 5
        run.rows.unembed_delta[7] -= 5
    stored = tensors_of(run, sharpen=1.0, most_rows=2)
    assert stored["token_codes.ids"].tolist() == run.rows.ids[[3, 7]].tolist()
    whole = tensors_of(run, sharpen=1.0)
    for table in ("token_codes.embed_tokens", "token_codes.lm_head"):
        assert torch.equal(stored[table], whole[table][[3, 7]])


def test_rounding_equals_the_stored_values() -> None:
    values = torch.randn(3, 5, 64) * torch.rand(3, 5, 1) * 9
    values[0, 0, :32] = 0
    assert torch.equal(round_to_mxfp4(values), mxfp4.decode(*mxfp4.encode(values)))
    learned = values.clone().requires_grad_()
    fake_quantize(learned).sum().backward()
    assert learned.grad is not None
    assert learned.grad.eq(1).all()


@pytest.mark.parametrize("size", [(2, 64, 32), (3, 32, 96)])
def test_muon_equalizes_singular_values(size: tuple[int, ...]) -> None:
    found = torch.linalg.svdvals(orthogonalize(torch.randn(size)))
    assert found.min() > 0.5
    assert found.max() < 1.4


def test_the_schedule_warms_up_stays_and_decays() -> None:
    schedule = Schedule(minutes=100, decay_share=0.5)
    moments = ((0, 0), (50, 10), (900, 49), (990, 75))
    rates = [schedule.rate(step, minute) for step, minute in moments]
    assert rates == pytest.approx([0.025, 1.0, 1.0, 0.5])
    assert schedule.rate(9999, 100) == pytest.approx(0.02)
    low = Schedule(minutes=100, decay_share=0.5, peak=0.1)
    assert [low.rate(999, minute) for minute in (10, 90, 98, 100)] == pytest.approx(
        [0.1, 0.1, 0.04, 0.002]
    )
    assert [schedule.quantized(minute) for minute in (79, 81)] == [False, True]
    assert [schedule.copy_share(minute) for minute in (1, 20)] == [0.6, 0.08]


def test_frequent_ids_are_counted_from_the_data(ids: list[int]) -> None:
    counts: dict[int, int] = {}
    for group in itertools.islice(groups(3, Shares(copy=0.05)), 20):
        rows: list[Any] = [group.prefix]
        rows += [example.prompt + example.completion for example in group.examples]
        for token in itertools.chain.from_iterable(rows):
            counts[token] = counts.get(token, 0) + 1
    assert {token for token, count in counts.items() if count >= 25} <= set(ids)
    assert 200_012 in ids
