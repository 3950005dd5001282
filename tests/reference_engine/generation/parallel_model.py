"""The script of each process of test_parallel.py: runs its part of a model through scenarios."""

import pickle
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import files_read  # noqa: F401  # notes the files, if the suite asks for them
import torch
from plain_attention import without_triton
from torch import Tensor

from reference_engine.checkpoint import load_model
from reference_engine.generation.graphs import GraphedForward, forward_for, record_calls
from reference_engine.generation.link import Link
from reference_engine.generation.ranks import Follower, Leader, Messages, process_group
from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.generation.sequence import Sequence
from reference_engine.generation.setup import runner_for
from reference_engine.kernels import Kernels
from reference_engine.kv_cache.cache import page_bytes
from reference_engine.kv_cache.memory import Memory
from reference_engine.model.logits import Logits
from reference_engine.model.sharding import UNSHARDED, Shard

Wishes = list[tuple[list[int], SamplingParams]]
Tokens = dict[Sequence, list[Token | None]]
DECODED = 12
TEXT = torch.randint(0, 300, (400,), generator=torch.Generator().manual_seed(0)).tolist()
LONG = (TEXT * 3)[:1020]
"""This prompt outgrows its page table after four tokens."""
SENT: list[int] = []
"""The bytes of each message that this process sent."""


class Counted(Messages):
    def send(self, content: object) -> None:
        SENT.append(len(pickle.dumps(content)))
        super().send(content)


@dataclass(frozen=True)
class Scenario:
    """A model, its sizes, and what the leader does with the runner."""

    lead: Callable[[Runner], object]
    dtype: torch.dtype = torch.float32
    packed: bool = False
    kernels: Kernels = "torch"
    recorded: bool = True
    differs: bool = False
    """Whether a number of the second process has another last bit."""
    max_batch: int = 8
    max_context: int = 1100
    pages: int = 80

    def run(self, checkpoint: str, shard: Shard = UNSHARDED) -> dict[str, Any]:
        """Returns the result of `lead`, counts, and the sizes of messages; nothing on followers."""
        with nullcontext() if self.kernels == "triton" else without_triton():
            return self._run(checkpoint, shard)

    def _run(self, checkpoint: str, shard: Shard) -> dict[str, Any]:
        model = load_model(
            checkpoint, dtype=self.dtype, packed=self.packed, kernels=self.kernels, shard=shard
        )
        pages = self.pages + 7 * shard.rank  # The process with the least memory decides.
        sizes: dict[str, Any] = {
            "max_batch": self.max_batch,
            "max_context": self.max_context,
            "prefill_chunk": 256,
            "memory": Memory(pages * page_bytes(model.config, self.dtype)),
            "forward": partial(GraphedForward, record=record_calls)
            if self.recorded
            else forward_for,
        }
        if shard.rank:
            if self.differs:
                scale = model.norm.scale
                scale[0] = torch.nextafter(scale[0], scale.new_tensor(9))
            Follower().run(model, **sizes)
            return {}
        link = Leader() if shard.ranks > 1 else Link()
        try:
            runner = runner_for(model, link=link, **sizes)
            runner.prepare(lambda done, total: None)
            SENT.clear()
            made = self.lead(runner)
            tally = runner.scheduler.tally
            assert runner.scheduler.pages["used"] == 0
            return {
                "made": made, "reused": tally.reused_tokens, "preemptions": tally.preemptions,
                "sent": list(SENT),
            }  # fmt: skip
        finally:
            link.close()


def add(runner: Runner, wishes: Wishes) -> Tokens:
    sequences = [Sequence(tuple(prompt), params) for prompt, params in wishes]
    for sequence in sequences:
        runner.add(sequence)
    return {sequence: [] for sequence in sequences}


def advance(runner: Runner, tokens: Tokens) -> None:
    for step in runner.step():
        tokens[step.sequence].append(step.token)


def finish(runner: Runner, tokens: Tokens) -> list[list[int | None]]:
    while runner.scheduler.running or runner.scheduler.preempted:
        advance(runner, tokens)
    return [[token and token.id for token in drawn] for drawn in tokens.values()]


def together(wishes: Wishes, runner: Runner) -> list[list[int | None]]:
    """Returns the tokens of sequences that start in the same step."""
    return finish(runner, add(runner, wishes))


def come_and_go(runner: Runner) -> list[list[int | None]]:
    """A prompt is reused, and a sequence leaves while its next token is being drawn."""
    tokens = add(runner, [(TEXT[:150], SamplingParams(9, seed=1))])
    for _ in range(3):
        advance(runner, tokens)
    cancelled = add(runner, [(TEXT[:130], SamplingParams(50, seed=3))])
    tokens |= cancelled
    tokens |= add(runner, [(TEXT[:151], SamplingParams(6, temperature=0))])
    for _ in range(4):
        advance(runner, tokens)
    runner.remove(*cancelled)
    return finish(runner, tokens)


def logprobs(runner: Runner) -> Tensor:
    """Returns the logprobs after two prompts of two blocks each, and after forced tokens."""
    kept: list[Tensor] = []

    def sampler(logits: Logits, draws: list[Any]) -> list[Token | None]:
        kept.append(logits.of().log_softmax(-1))
        return [Token(7 + draw.step) for draw in draws]

    runner._sampler = sampler
    prompts = ([*range(100)], [*range(200, 290)])
    together([(prompt, SamplingParams(DECODED)) for prompt in prompts], runner)
    return torch.stack(kept)


def rows(count: int) -> Wishes:
    """Returns prompts of different lengths with greedy and random draws; the first two are long."""
    prompts = [LONG, LONG[9:], *(TEXT[row : 2 * row + 1] for row in range(2, count))][:count]
    return [
        (prompt, SamplingParams(6 + row % 3, temperature=row % 2, seed=row))
        for row, prompt in enumerate(prompts)
    ]


MIXED: Wishes = [
    (TEXT[:30], SamplingParams(8, temperature=0)),
    (TEXT[9:80], SamplingParams(9, seed=1, temperature=1.5, top_logprobs=2)),
    (TEXT[3:70], SamplingParams(7, seed=2, top_p=0.9)),
    (TEXT[200:203], SamplingParams(7, seed=2)),
]
CROWDED: Wishes = [(TEXT[at : at + 60], SamplingParams(100, seed=at)) for at in (0, 99)]
KERNELS: Wishes = [(TEXT[:9], SamplingParams(4, seed=1)), (TEXT[:70], SamplingParams(3, seed=2))]
SCENARIOS = {
    **{f"{count} rows": Scenario(partial(together, rows(count))) for count in (1, 2, 5)},
    "eager": Scenario(partial(together, rows(5)), recorded=False),
    "one sampled row": Scenario(partial(together, MIXED[3:])),
    "settings": Scenario(partial(together, MIXED)),
    "come and go": Scenario(come_and_go),
    "few pages": Scenario(partial(together, CROWDED), pages=5),
    **{
        f"{dtype}, packed: {packed}": Scenario(logprobs, dtype, packed, recorded=False)
        for dtype in (torch.float32, torch.bfloat16)
        for packed in (False, True)
    },
}
DIFFERING_EAGER = {"eager": Scenario(partial(together, MIXED), recorded=False, differs=True)}
DIFFERING_RECORDED = {"recorded": Scenario(partial(together, MIXED), differs=True)}
INTERPRETED = {
    "kernels": Scenario(
        partial(together, KERNELS), packed=True, kernels="triton", max_batch=2, max_context=128
    )
}


def main() -> None:
    """Runs the scenarios of a group and writes what the leader returns."""
    torch.set_num_threads(1)
    group, checkpoint, out = sys.argv[1:]
    with process_group("cpu") as shard:
        made = {name: each.run(checkpoint, shard) for name, each in globals()[group].items()}
    if not shard.rank:
        torch.save(made, Path(out))


if __name__ == "__main__":
    from unittest import mock

    with mock.patch("reference_engine.generation.ranks.Messages", Counted):
        main()
