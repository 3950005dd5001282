"""The training loop of one process."""

import json
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training import snapshot, workers
from training.data import LENGTHS, Group, Shares, groups
from training.optim import set_rate
from training.packing import Batch, pack
from training.schedule import Schedule
from training.snapshot import Progress, Run

_BALANCE = 0.01
_LOG_STEPS = 20
_PROBE_STEPS = 250
_PROBE_GROUPS = 12
_SNAPSHOT_SECONDS = 300
_FULL_ATTENTION = ("q_proj", "q_bias", "k_proj", "k_bias", "sinks")
"""The attention parameters of layers with odd numbers, which have full attention."""


class Trainer:
    """Trains a run until its time is up or it receives a signal to stop."""

    def __init__(
        self,
        run: Run,
        schedule: Schedule,
        *,
        seed: int,
        rank: int,
        out: Path,
        tokens_per_step: int,
        shares: Shares,
        longest: int = LENGTHS[1],
        keep_attention: bool = False,
    ) -> None:
        """Prepare the data and the groups that measure progress.

        Args:
            run: the state to train.
            schedule: learning rates and rounding.
            seed: of the data.
            rank: the number of this process.
            out: folder of snapshots and the log.
            tokens_per_step: minimum number of tokens that this process reads per step. With a
                fixed number of groups, one process would wait for the one with longer groups.
            shares: the kinds of groups. The schedule gives the share of copy tasks.
            longest: maximum number of tokens of a long text.
            keep_attention: whether the scores of the full-attention layers stay unchanged, to
                preserve the distances over which the model finds information.
        """
        self._run = run
        self._schedule = schedule
        self._out = out
        self._rank = rank
        self._tokens_per_step = tokens_per_step
        self._parameters = run.parameters()
        self._stopping = False
        self._began = time.process_time() - run.progress.minute * 60
        self._streams = _Streams(seed, rank, run.progress.step, shares, longest)
        probe = list(islice(groups(-1 - rank, replace(shares, copy=0.2)), _PROBE_GROUPS))
        self._probe = [pack(group) for group in probe]
        self._probe_skills = [[example.skill for example in group.examples] for group in probe]
        names = _FULL_ATTENTION if keep_attention else ()
        scores = [run.net.get_parameter(name)[1::2] for name in names]
        self._kept = [(score, score.detach().clone()) for score in scores]
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def train(self) -> None:
        """Runs to the end and writes snapshots and the log to the output folder."""
        progress = self._run.progress
        losses: list[float] = []
        saved = time.monotonic()
        stopped = False
        while not stopped and progress.minute < self._schedule.minutes:
            loss, stopped = self._step()
            losses.append(loss)
            if progress.step % _LOG_STEPS == 0:
                self._log({"loss": sum(losses) / len(losses)})
                losses.clear()
            if progress.step % _PROBE_STEPS == 0:
                self._log(self.probe())
            if time.monotonic() - saved > _SNAPSHOT_SECONDS:
                self._save(f"step-{progress.step:06}.pt")
                saved = time.monotonic()
        self._log(self.probe())
        self._save("last.pt")

    def _step(self) -> tuple[float, bool]:
        """Runs one optimizer step; returns the mean loss and whether a process must stop."""
        run, progress = self._run, self._run.progress
        rate = self._schedule.rate(progress.optimized, progress.minute)
        quantize = self._schedule.quantized(progress.minute)
        copying = self._schedule.copy_share(progress.minute)
        batches: list[Batch] = []
        while sum(batch.real_tokens for batch in batches) < self._tokens_per_step:
            batches.append(pack(self._streams.next(copying)))
        loss_sum = torch.zeros(())
        for batch in batches:
            loss, balance = self._losses(batch, quantize=quantize)
            torch.autograd.backward(loss.sum() + _BALANCE * len(batch.targets) * balance)
            loss_sum += loss.detach().sum()
        tokens = sum(batch.real_tokens for batch in batches)
        targets = sum(len(batch.targets) for batch in batches)
        elapsed = time.process_time() - self._began if self._rank == 0 else 0.0
        counts = torch.tensor([tokens, targets, elapsed, float(self._stopping)])
        grads = [gradient(parameter) for parameter in self._parameters]
        *grads, loss_sum, counts = workers.total([*grads, loss_sum, counts])
        all_targets = counts[1]
        for parameter, grad in zip(self._parameters, grads, strict=True):
            parameter.grad = grad / all_targets
        set_rate(run.optimizers, rate)
        for optimizer in run.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            for score, before in self._kept:
                score.copy_(before)
        run.update_average()
        progress.step += 1
        progress.tokens += int(counts[0])
        progress.targets += int(all_targets)
        progress.minute = float(counts[2]) / 60
        return float(loss_sum / all_targets), bool(counts[3] > 0)

    def _losses(self, batch: Batch, *, quantize: bool) -> tuple[Tensor, Tensor]:
        rows = self._run.rows
        states, balance = self._run.net(rows.embed(batch.ids), batch, quantize=quantize)
        return rows.loss(states, batch.targets, batch.ids), balance

    @torch.no_grad()
    def probe(self) -> dict[str, Any]:
        """Returns the teacher-forced share of correct tokens and correct completions by skill."""
        right: dict[str, list[Tensor]] = defaultdict(list)
        whole: dict[str, list[bool]] = defaultdict(list)
        quantize = self._schedule.quantized(self._run.progress.minute)
        rows = self._run.rows
        for batch, skills in zip(self._probe, self._probe_skills, strict=True):
            states, _ = self._run.net(rows.embed(batch.ids), batch, quantize=quantize)
            hits = rows.argmax(states[: len(batch.targets)]) == batch.targets
            right["untrained ids"].append(hits[rows.row_of[batch.targets] == len(rows.ids)])
            for at, skill in enumerate(skills):
                mine = hits[batch.example_of == at]
                right[skill].append(mine)
                whole[skill].append(bool(mine.all()))
        tokens = {
            skill: round(torch.cat(hits).float().mean().item(), 4) for skill, hits in right.items()
        }
        exact = {skill: round(sum(hits) / len(hits), 3) for skill, hits in whole.items()}
        return {"tokens right": tokens, "completions right": exact}

    def _log(self, record: dict[str, Any]) -> None:
        if self._rank:
            return
        progress: Progress = self._run.progress
        rate = self._schedule.rate(progress.optimized, progress.minute)
        line = {"step": progress.step, "minute": round(progress.minute, 2), **record}
        line |= {"rate": round(rate, 3), "tokens": progress.tokens}
        with (self._out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _save(self, name: str) -> None:
        if self._rank == 0:
            snapshot.save(self._run, self._out / name)

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True


class _Streams:
    """The data of this process, without repetition after a resume."""

    def __init__(self, seed: int, rank: int, step: int, shares: Shares, longest: int) -> None:
        self._base = random.Random(f"{seed} {rank} {step}").getrandbits(48)  # noqa: S311
        self._share = -1.0
        self._shares = shares
        self._longest = longest
        self._stream: Iterator[Group] = iter(())

    def next(self, copy_share: float) -> Group:
        if copy_share != self._share:
            self._share = copy_share
            self._base += 1
            shares = replace(self._shares, copy=copy_share)
            self._stream = groups(self._base, shares, (LENGTHS[0], self._longest))
        return next(self._stream)


def gradient(parameter: torch.nn.Parameter) -> Tensor:
    """Returns the gradient of a parameter, or zeros if it was not used."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
