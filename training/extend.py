"""Teaches a trained checkpoint longer texts: `python -m training.extend --out DIR`.

A model that was trained on short texts spreads its attention too thinly over long ones: the total
share of irrelevant keys grows with their number. Only the parameters that determine the attention
of the full-attention layers are trained, with cross entropy on groups with long texts. Ordinary
groups preserve the other skills: on these, the loss is the divergence from the distributions of the
original (knowledge distillation, https://arxiv.org/abs/1503.02531).

The result has the format and size of the original.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from reference_engine.small.export import SHIPPED
from training import workers
from training.data import LENGTHS, Shares, groups
from training.loop import gradient
from training.packing import Batch, pack
from training.reopen import RECORD, reopen
from training.ship import write_checkpoint
from training.snapshot import Run

LEARNED = "learned.pt"
"""The file with the learned parameters, from which training can be resumed."""
_TAUGHT = Shares(copy=0.0, long=1.0)
_ORDINARY = Shares(copy=0.0, long=0.0, builtin=0.3, client=0.0)
_DECAY_SHARE = 0.4
"""The final share of the time over which the learning rates decrease."""
_LOWEST_RATE = 0.02
_WARM_UP_STEPS = 5
_LOG_STEPS = 5
_LARGEST_NORM = 1.0
"""The norm to which larger gradients (of all parameters together) are scaled down."""


class Attention(nn.Module):
    """The attention parameters of a network's full-attention layers, which have odd numbers.

    A gain makes a query head more sensitive to a rotary pair.

    Attributes:
        gains: logarithms of the gains, (layers, query heads, head_dim / 2).
        sinks: added to the sinks, (layers, query heads).
        queries: added to the query weights, (layers, query heads * head_dim, hidden).
        keys: added to the key weights, (layers, key heads * head_dim, hidden).
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        for parameter in run.parameters():
            parameter.requires_grad = False
        shape, layers = run.net.shape, len(run.net.q_proj[1::2])
        heads, dim = shape.num_attention_heads, shape.head_dim
        self.gains = nn.Parameter(torch.zeros(layers, heads, dim // 2))
        self.sinks = nn.Parameter(torch.zeros(layers, heads))
        self.queries = nn.Parameter(torch.zeros_like(run.net.q_proj[1::2]))
        self.keys = nn.Parameter(torch.zeros_like(run.net.k_proj[1::2]))

    def states(self, batch: Batch) -> Tensor:
        """Returns the final states of tokens with a target, (targets and filler, hidden)."""
        inputs = (self.run.rows.embed(batch.ids), batch)
        changed = self.applied()
        states: Tensor = functional_call(self.run.net, changed, inputs, {"quantize": False})[0]
        return states

    def applied(self) -> dict[str, Tensor]:
        """The parameters of the network that change, by name, stacked over all layers."""
        net = self.run.net
        gain = self.gains.exp().repeat(1, 1, 2).flatten(1)  # a pair is (i, i + head_dim / 2)
        return {
            "q_proj": _odd(net.q_proj, (net.q_proj[1::2] + self.queries) * gain[..., None]),
            "q_bias": _odd(net.q_bias, net.q_bias[1::2] * gain),
            "k_proj": _odd(net.k_proj, net.k_proj[1::2] + self.keys),
            "sinks": _odd(net.sinks, net.sinks[1::2] + self.sinks),
        }

    def rates(self, rate: float) -> list[dict[str, Any]]:
        """Returns the optimizer's parameter groups; `rate` is that of the gains."""
        return [
            {"params": [self.gains], "full": rate},
            {"params": [self.sinks], "full": rate * 3},
            {"params": [self.queries, self.keys], "full": rate / 100},
        ]

    @torch.no_grad()
    def fold(self) -> None:
        """Replaces the changed parameters of the network."""
        for name, value in self.applied().items():
            self.run.net.get_parameter(name).copy_(value)


def _odd(stacked: Tensor, changed: Tensor) -> Tensor:
    """The stack with its odd layers replaced."""
    return torch.stack((stacked[::2], changed), 1).flatten(0, 1)


def new_loss(student: Attention, batch: Batch) -> Tensor:
    """The mean cross entropy of the targets in nats."""
    loss = student.run.rows.loss(student.states(batch), batch.targets, batch.ids)
    return loss.sum() / len(batch.targets)


def ordinary_loss(student: Attention, original: Run, batch: Batch, sharpen: float) -> Tensor:
    """The mean divergence of the targets' distributions from those of the original, in nats.

    Args:
        student: the network in training.
        original: the network before training.
        batch: a packed group.
        sharpen: the factor of the exported logits.
    """

    def distributions(run: Run, states: Tensor) -> Tensor:
        with torch.random.fork_rng():  # the same candidates for both
            rows, correction, _ = run.rows.candidates(batch.targets, batch.ids)
        logits = sharpen * states[: len(batch.targets)].float() @ rows.T + correction
        return logits.log_softmax(-1)

    with torch.no_grad():
        states, _ = original.net(original.rows.embed(batch.ids), batch, quantize=False)
        wanted = distributions(original, states)
    learned = distributions(student.run, student.states(batch))
    return F.kl_div(learned, wanted, reduction="batchmean", log_target=True)


def learn(
    options: argparse.Namespace, student: Attention, original: Run, *, rank: int, sharpen: float
) -> None:
    """Trains for some minutes of wall time; process 0 writes a log and the learned parameters."""
    seed = options.seed * options.processes + rank
    new = groups(seed, _TAUGHT, (options.shortest, options.longest))
    ordinary = groups(seed, _ORDINARY)
    parameters = list(student.parameters())
    adam = torch.optim.Adam(student.rates(options.rate), betas=(0.9, 0.95))
    began, seen = time.monotonic(), []
    for step in itertools.count(1):
        losses = torch.zeros(2)
        for group in itertools.islice(new, options.new):
            loss = new_loss(student, pack(group)) / options.new
            torch.autograd.backward(loss)
            losses[0] += loss.item()
        for group in itertools.islice(ordinary, options.ordinary):
            loss = ordinary_loss(student, original, pack(group), sharpen) / options.ordinary
            torch.autograd.backward(options.keep * loss)
            losses[1] += loss.item()
        minutes = torch.tensor([(time.monotonic() - began) / 60])
        gradients = [gradient(parameter) for parameter in parameters]
        *gradients, losses, minutes = workers.total([*gradients, losses, minutes])
        for parameter, summed in zip(parameters, gradients, strict=True):
            parameter.grad = summed / options.processes
        torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_NORM)
        left = 1 - minutes.item() / options.processes / options.minutes
        factor = min(1.0, max(_LOWEST_RATE, left) / _DECAY_SHARE, step / _WARM_UP_STEPS)
        for rates in adam.param_groups:
            rates["lr"] = rates["full"] * factor
        adam.step()
        adam.zero_grad()
        seen.append(losses / options.processes)
        if rank == 0 and (step % _LOG_STEPS == 0 or left <= 0):
            torch.save(student.state_dict(), options.out / LEARNED)
            _log(options.out / "log.jsonl", step, torch.stack(seen).mean(0))
            seen.clear()
        if left <= 0:
            return


def _log(path: Path, step: int, losses: Tensor) -> None:
    new, ordinary = losses.tolist()
    line = {"step": step, "new": round(new, 4), "divergence": round(ordinary, 5)}
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts the worker processes, or runs as one of them."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    options.out.mkdir(parents=True, exist_ok=True)
    if not workers.is_worker():
        return workers.launch("training.extend", given, options.processes)
    rank = workers.join(options.processes)
    torch.manual_seed(options.seed * options.processes + rank)
    record = json.loads((options.checkpoint / RECORD).read_text(encoding="utf-8"))
    student = Attention(reopen(options.checkpoint))
    if options.resume:
        student.load_state_dict(torch.load(options.resume, weights_only=True))
    original = reopen(options.checkpoint)
    learn(options, student, original, rank=rank, sharpen=record["sharpen"])
    if rank == 0:
        student.fold()
        write_checkpoint(student.run, options.out / "checkpoint", sharpen=record["sharpen"])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.extend")
    add = parser.add_argument
    add("--checkpoint", type=Path, default=SHIPPED, help="a shipped folder")
    add("--out", type=Path, required=True, help="folder of the result")
    add("--resume", type=Path, help=f"{LEARNED} of an earlier part")
    add("--seed", type=int, default=6)
    add("--processes", type=int, default=2, help="single-threaded workers")
    add("--minutes", type=float, default=40, help="wall time of this part, in minutes")
    add("--rate", type=float, default=0.025, help="learning rate of the gains")
    add("--new", type=int, default=2, help="groups with long texts per step and process")
    add("--ordinary", type=int, default=3, help="ordinary groups per step and process")
    add("--keep", type=float, default=2.0, help="weight of the ordinary groups")
    add("--shortest", type=int, default=400, help="tokens of a long text")
    add("--longest", type=int, default=LENGTHS[1], help="tokens of a long text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
