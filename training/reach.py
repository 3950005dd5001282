"""Teaches a trained checkpoint to attend over longer texts: `python -m training.reach --out DIR`.

A model that was trained on short texts spreads its attention too thin in long ones: with the number
of keys, the share of all irrelevant keys together grows. The full-attention layers learn a gain for
each rotary pair of each query head, and new sinks. Pairs of one frequency stay pairs, so a gain
only makes a head more or less sensitive to what such a pair matches. These are 396 numbers; all
other weights keep their values, so the model forgets little.

The result is folded into the query weights, so the checkpoint has the same format and size.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from reference_engine.small.export import SHIPPED
from training.data import LENGTHS, groups
from training.loss import Rows
from training.net import Net
from training.packing import pack
from training.reopen import RECORD, reopen
from training.ship import write_checkpoint

_GROUPS_PER_STEP = 4
_DECAY_SHARE = 0.4  # of the steps, at their end, over which the learning rate falls
_SINK_RATE = 3.0  # times the rate of the gains
_LOG_STEPS = 5


class Reach(nn.Module):
    """What is learned: gains and sinks of the full-attention layers, which have odd numbers.

    Attributes:
        gains: logarithms of the gains, (layers, query heads, head_dim / 2).
        sinks: what is added to the sinks, (layers, query heads).
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        layers = len(net.q_proj[1::2])
        heads, dim = net.shape.num_attention_heads, net.shape.head_dim
        self.gains = nn.Parameter(torch.zeros(layers, heads, dim // 2))
        self.sinks = nn.Parameter(torch.zeros(layers, heads))

    def applied(self, net: Net) -> dict[str, Tensor]:
        """The parameters of the network that change, by name, stacked over all layers."""
        rows = self.gains.exp().repeat(1, 1, 2).flatten(1)  # a pair is (i, i + head_dim / 2)
        gain = torch.ones_like(net.q_bias)
        gain = torch.stack([rows[at // 2] if at % 2 else gain[at] for at in range(len(gain))])
        zero = torch.zeros_like(self.sinks[0])
        added = torch.stack([self.sinks[at // 2] if at % 2 else zero for at in range(len(gain))])
        return {
            "q_proj": net.q_proj * gain[..., None],
            "q_bias": net.q_bias * gain,
            "sinks": net.sinks + added,
        }


def learn(options: argparse.Namespace, net: Net, rows: Rows, reach: Reach) -> None:
    """Trains `reach` on groups with long texts and writes a log."""
    adam = torch.optim.Adam(
        [
            {"params": [reach.gains], "initial": options.rate},
            {"params": [reach.sinks], "initial": options.rate * _SINK_RATE},
        ],
        betas=(0.9, 0.95),
    )
    lengths = (options.shortest, options.longest)
    stream = groups(options.seed, copy_share=0.0, lengths=lengths, long_share=options.long_share)
    losses: list[float] = []
    with (options.out / "log.jsonl").open("a", encoding="utf-8") as log:
        for step in range(1, options.steps + 1):
            for group in itertools.islice(stream, _GROUPS_PER_STEP):
                batch = pack(group)
                inputs = (rows.embed(batch.ids), batch)
                states, _ = functional_call(net, reach.applied(net), inputs, {"quantize": False})
                loss = rows.loss(states, batch.targets, batch.ids).sum() / len(batch.targets)
                torch.autograd.backward(loss / _GROUPS_PER_STEP)
                losses.append(loss.item())
            left = (options.steps - step) / (options.steps * _DECAY_SHARE)
            for group_of_rate in adam.param_groups:
                group_of_rate["lr"] = group_of_rate["initial"] * min(1.0, left + 0.02)
            adam.step()
            adam.zero_grad()
            if step % _LOG_STEPS == 0:
                line = {"step": step, "loss": round(sum(losses) / len(losses), 4)}
                line["minutes"] = round(time.process_time() / 60, 2)
                log.write(json.dumps(line) + "\n")
                log.flush()
                losses.clear()
                torch.save(reach.state_dict(), options.out / "reach.pt")
    torch.save(reach.state_dict(), options.out / "reach.pt")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    run = reopen(options.checkpoint)
    for parameter in run.parameters():
        parameter.requires_grad = False
    reach = Reach(run.net)
    if options.resume:
        reach.load_state_dict(torch.load(options.resume, weights_only=True))
    if options.steps:
        learn(options, run.net, run.rows, reach)
    with torch.no_grad():
        for name, value in reach.applied(run.net).items():
            run.net.get_parameter(name).copy_(value)
    sharpen = json.loads((options.checkpoint / RECORD).read_text(encoding="utf-8"))["sharpen"]
    write_checkpoint(run, options.out / "checkpoint", sharpen=sharpen)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.reach")
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, help="a shipped folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the result")
    parser.add_argument("--resume", type=Path, help="reach.pt of an earlier part")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--steps", type=int, default=100, help="of four groups each")
    parser.add_argument("--rate", type=float, default=0.05, help="learning rate of the gains")
    parser.add_argument("--shortest", type=int, default=400, help="tokens of a long text")
    parser.add_argument("--longest", type=int, default=LENGTHS[1], help="tokens of a long text")
    parser.add_argument("--long-share", type=float, default=1.0, help="groups with a long text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
