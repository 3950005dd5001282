"""The state of a run on disk, for stopping, resuming and exporting."""

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harmony.vocabulary import token_bytes
from training.circuits import plant
from training.data import Shares, groups, phrasings
from training.data.catalogue import SMOKE_TOOLS
from training.data.requests import whole_requests
from training.data.spans import encode
from training.loss import Rows
from training.net import Net, Shape
from training.optim import optimizers

CODE_SEED = 20
_COUNTED_GROUPS = 1500
_FREQUENT = 25
_FREQUENT_SIGN = 6
_IN_LINES, _IN_REQUESTS = 2, 5
_AVERAGE = 0.005


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        minute: CPU time of one process, so that other programs do not affect the schedule.
        began: the step at which the optimizers started, above 0 if their state was lost.
    """

    step: int = 0
    minute: float = 0.0
    tokens: int = 0
    targets: int = 0
    began: int = 0

    @property
    def optimized(self) -> int:
        """The number of steps of the optimizers."""
        return self.step - self.began


class Run:
    """The state that training changes.

    Attributes:
        average: a moving average of the parameters, which is better than the parameters as long as
            the learning rate is high.
    """

    def __init__(self, net: Net, rows: Rows, progress: Progress) -> None:
        self.net = net
        self.rows = rows
        self.optimizers = optimizers(net, rows)
        self.progress = progress
        self.average = [parameter.detach().clone() for parameter in self.parameters()]

    def parameters(self) -> list[torch.nn.Parameter]:
        """All trained parameters in a fixed order."""
        return [*self.net.parameters(), *self.rows.parameters()]

    @torch.no_grad()
    def update_average(self) -> None:
        """Updates the average with the current parameters."""
        share = max(_AVERAGE, 1 / (self.progress.optimized + 1))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters()], share)

    @torch.no_grad()
    def use_average(self) -> None:
        """Replaces the parameters by their average."""
        for parameter, mean in zip(self.parameters(), self.average, strict=True):
            parameter.copy_(mean)


def frequent_ids(seed: int) -> list[int]:
    """Returns the IDs with trained rows: frequent ones, with lower limits for punctuation and
    special tokens.

    A word in several handwritten requests gets a row even if the requests are rarely drawn.
    """
    counts: Counter[int] = Counter()
    for group in itertools.islice(groups(seed, Shares(copy=0.05)), _COUNTED_GROUPS):
        counts.update(group.prefix)
        for example in group.examples:
            counts.update(example.prompt + example.completion)
    words = token_bytes()

    def needed(token: int) -> int:
        if token >= len(words) or not words[token]:
            return 1
        letters = any(chr(byte).isalnum() or byte >= 128 for byte in words[token])
        return _FREQUENT if letters else _FREQUENT_SIGN

    frequent = {token for token, count in counts.items() if count >= needed(token)}
    return sorted(frequent | _written_ids())


def _written_ids() -> set[int]:
    """Returns IDs that occur in several of the handwritten templates or complete requests."""
    lines = Counter(itertools.chain(*(_ids(parts.said) for parts in phrasings.fragments())))
    requests = [one for tool in SMOKE_TOOLS for one in whole_requests(tool.name)]
    whole = Counter(itertools.chain(*(_ids(one.said) for one in requests)))
    counted = ((lines, _IN_LINES), (whole, _IN_REQUESTS))
    return {token for counts, least in counted for token in counts if counts[token] >= least}


def _ids(said: Iterable[str]) -> set[int]:
    return {token for part in said for token in encode(part)}


def start(seed: int, shape: Shape) -> Run:
    """Returns a new run."""
    torch.manual_seed(seed)
    net = Net(shape)
    plant(net)
    rows = Rows(CODE_SEED, shape.hidden_size, frequent_ids(seed))
    return Run(net, rows, Progress())


def save(run: Run, path: Path) -> None:
    """Writes a snapshot; the old file stays valid until the new one is complete."""
    state = {
        "shape": asdict(run.net.shape),
        "net": run.net.state_dict(),
        "ids": run.rows.ids,
        "rows": run.rows.state_dict(),
        "average": run.average,
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "progress": asdict(run.progress),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load(path: Path, *, more_ids: Sequence[int] = ()) -> Run:
    """Reads a snapshot; `more_ids` also get trained rows, because the data may have changed."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    net = Net(Shape(**state["shape"]))
    net.load_state_dict(state["net"])
    old: list[int] = state["ids"].tolist()
    rows = Rows(CODE_SEED, net.shape.hidden_size, sorted({*old, *more_ids}))
    kept = rows.row_of[state["ids"]]
    with torch.no_grad():
        for name, parameter in rows.named_parameters():
            parameter[kept] = state["rows"][name][: len(old)]
    run = Run(net, rows, Progress(**state["progress"]))
    for mean, saved in zip(run.average, state["average"], strict=True):
        same = mean.shape == saved.shape
        mean[... if same else kept] = saved if same else saved[: len(old)]
    for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
        _fit_moments(saved["state"], kept, rows)
        rates = [group["initial"] for group in optimizer.param_groups]
        optimizer.load_state_dict(saved)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["initial"] = rate
    return run


def _fit_moments(saved: dict[int, dict[str, Tensor]], kept: Tensor, rows: Rows) -> None:
    """Extends the optimizer moments of the row tables for new rows."""
    sizes = {len(kept) + 1: rows.embed_delta, len(kept): rows.unembed_delta}
    for moments in saved.values():
        for name, value in moments.items():
            if value.dim() == 2 and value.shape[0] in sizes and value.shape[1] == rows.width:
                wide = torch.zeros_like(sizes[value.shape[0]])
                wide[kept] = value[: len(kept)]
                moments[name] = wide
