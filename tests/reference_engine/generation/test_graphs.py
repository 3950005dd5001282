"""Recorded decode steps give the same results as eager ones; without a GPU, calls are recorded."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from tiny_model import random_transformer

from reference_engine.generation import graphs
from reference_engine.generation.forward import Row
from reference_engine.generation.graphs import GraphedForward, bucket, record_calls
from reference_engine.generation.ragged import RaggedForward, width_for
from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import SamplingParams, uniform
from reference_engine.generation.sequence import Sequence
from reference_engine.kv_cache.cache import KVCache

pytestmark = pytest.mark.usefixtures("plain_attention")
TEXT = torch.randint(0, 300, (400,), generator=torch.Generator().manual_seed(0)).tolist()
LONG = (TEXT * 3)[:1020]
"""This prompt outgrows its page table after four tokens."""


class Run:
    """Tokens and logprobs of several sequences; None marks logits that are not finite."""

    def __init__(self, model, wishes, prompts, *, recorded, prepared=False, pages=80):
        self.recordings = 0
        cache = KVCache(model.config, pages, torch.float32, torch.device("cpu"))
        forward = GraphedForward(model, cache, self.record) if recorded else RaggedForward
        self.runner = Runner(
            model,
            cache,
            max_batch=len(prompts),
            max_context=1100,
            prefill_chunk=2048,
            headroom=0,
            forward=forward if recorded else forward(model, cache),
        )
        self.progress = []
        if prepared:
            self.runner.prepare(lambda *counts: self.progress.append(counts))
        self.prepared = self.recordings
        sequences = [
            Sequence(tuple(prompt), each) for prompt, each in zip(prompts, wishes, strict=True)
        ]
        self.tokens = {sequence: [] for sequence in sequences}
        for sequence in sequences:
            self.runner.add(sequence)
        while self.runner.scheduler.running or self.runner.scheduler.preempted:
            for step in self.runner.step():
                self.tokens[step.sequence].append(step.token)
        self.used = self.runner.scheduler.pages["used"]

    def record(self, run):
        self.recordings += 1
        return record_calls(run)

    def ids(self):
        return [[token and token.id for token in tokens] for tokens in self.tokens.values()]

    def logprobs(self):
        found = [token and token.logprob for tokens in self.tokens.values() for token in tokens]
        return [math.nan if x is None else x for x in found]


def both(model, wishes, prompts, **settings):
    """Compare an eager run with a recorded one."""
    eager = Run(model, wishes, prompts, recorded=False, **settings)
    recorded = Run(model, wishes, prompts, recorded=True, **settings)
    assert recorded.ids() == eager.ids()
    assert recorded.logprobs() == pytest.approx(eager.logprobs(), abs=1e-4, nan_ok=True)
    assert recorded.used == eager.used == 0
    return recorded


def prompts_for(rows):
    return [LONG if row == 0 else TEXT[row : 2 * row + 1] for row in range(rows)]


@pytest.fixture(scope="module")
def model():
    return random_transformer(num_hidden_layers=2)


@pytest.mark.parametrize("rows", [1, 9])
def test_steps_replay_with_other_rows_and_across_a_change_of_width(model, rows):
    """Sequences of different lengths end at different steps; one outgrows its page table."""
    wishes = [SamplingParams(6 if row == 0 else 4 + row % 5, seed=row) for row in range(rows)]
    found = both(model, wishes, prompts_for(rows))
    assert [len(tokens) for tokens in found.ids()] == [wish.max_tokens for wish in wishes]
    assert 2 <= found.recordings <= 6


def test_a_prepared_decoder_records_nothing_while_sequences_run(model):
    """One sequence outgrows its page table, others have a top_p, and they end one by one."""
    wishes = [SamplingParams(6, seed=0)]
    wishes += [
        SamplingParams(2 + row, seed=row, top_p=0.9 if row % 2 else 1) for row in range(1, 5)
    ]
    prompts = prompts_for(5)
    eager = Run(model, wishes, prompts, recorded=False)
    found = Run(model, wishes, prompts, recorded=True, prepared=True)
    assert found.ids() == eager.ids()
    assert found.recordings == found.prepared == 4 * 2 * 2  # 8, 4, 2, 1 rows; two widths; top_p
    assert (found.progress, found.used) == ([(done, 16) for done in range(1, 17)], 0)


def test_the_largest_steps_come_first(model):
    cache = KVCache(model.config, 3, torch.float32, torch.device("cpu"))
    steps = GraphedForward(model, cache, record_calls).decoder(9).steps(3000)
    rows, contexts, top_ps = zip(*steps, strict=True)
    assert list(rows) == [16] * 4 + [8] * 4 + [4] * 4 + [2] * 4 + [1] * 4
    assert contexts[:4] == (3000, 3000, 1024, 1024)
    assert top_ps[:4] == (0.9, 1, 0.9, 1)


@pytest.mark.parametrize(("rows", "graphs"), [(1, 8), (64, 64), (256, 88)])
def test_the_number_of_graphs_is_bounded(model, rows, graphs):
    cache = KVCache(model.config, 3, torch.float32, torch.device("cpu"))
    assert len(GraphedForward(model, cache, record_calls).decoder(rows).steps(131_072)) == graphs


@pytest.mark.parametrize("candidates", [4, 1024])
def test_settings_and_logprobs_reach_the_recorded_step(model, candidates, monkeypatch):
    """With four candidates, rows with a top_p or top_k are drawn from the whole vocabulary."""
    monkeypatch.setattr(graphs, "CANDIDATES", candidates)
    wishes = [
        SamplingParams(5, temperature=0),
        SamplingParams(9, temperature=1.5, seed=1),
        SamplingParams(7, top_p=0.9, seed=2),
        SamplingParams(3, top_logprobs=2, seed=3),
        SamplingParams(8, temperature=0, top_p=0.5, top_logprobs=0),
        SamplingParams(7, top_k=1, seed=4),
        SamplingParams(7, top_k=5, top_p=0.8, seed=5),
    ]
    found = both(model, wishes, prompts_for(len(wishes)))
    assert all(len(token.top) == 2 for token in list(found.tokens.values())[3])


def test_top_k_of_a_row_needs_no_further_graph(model):
    """The same recorded step serves a top_p, another top_k, and rows without either."""
    wishes = [SamplingParams(6, top_p=0.9, seed=0), SamplingParams(6, seed=1)]
    counts = [both(model, wishes, prompts_for(3)[1:]).recordings]
    for top_k in (1, 7):
        wishes[0] = SamplingParams(6, top_k=top_k, seed=0)
        counts.append(both(model, wishes, prompts_for(3)[1:]).recordings)
    assert len(set(counts)) == 1


def drawn_plainly(model, prompt, wish):
    """The tokens of a request, drawn one after another from sorted lists of probabilities."""
    tokens = list(prompt)
    for step in range(wish.max_tokens):
        logits = model(torch.tensor([tokens]))[0, -1].double()
        probable = (logits / (wish.temperature or 1)).softmax(-1)
        order, kept = torch.arange(len(logits)), probable
        if wish.top_k or wish.top_p < 1 or not wish.temperature:
            ranked = probable.sort(descending=True, stable=True)
            most = (wish.top_k or len(logits)) if wish.temperature else 1
            order, kept = ranked.indices[:most], ranked.values[:most]
            kept = kept * (kept.cumsum(0) - kept < wish.top_p * kept.sum())
        reach = kept.cumsum(0)
        tokens.append(int(order[(reach > uniform(wish.seed, step) * reach[-1]).nonzero()[0]]))
    return tokens[len(prompt) :]


def test_draws_of_a_mixed_batch_are_those_of_sorted_probabilities():
    """A top_k above the candidates of a recorded step; the same limits with different seeds."""
    model = random_transformer(num_hidden_layers=2, vocab_size=1500)
    limits = [{}, {"temperature": 0}, {"top_k": 40}, {"top_p": 0.9}, {"top_k": 1100}]
    limits += [{"top_k": 1100, "top_p": 0.999, "temperature": 2.0}]
    wishes = [SamplingParams(5, seed=seed, **each) for each in limits for seed in (1, 2)]
    prompts = [prompt for prompt in prompts_for(len(limits) + 1)[1:] for _ in range(2)]
    with torch.inference_mode():
        expected = [
            drawn_plainly(model, prompt, wish) for prompt, wish in zip(prompts, wishes, strict=True)
        ]
    assert both(model, wishes, prompts).ids() == expected
    equal = [one == other for one, other in zip(expected[::2], expected[1::2], strict=True)]
    assert equal == [each.get("temperature") == 0 for each in limits], "seeds change the draws"


def test_a_stopped_sequence_gets_no_token_already_in_flight(model):
    """It stops at its third token when its fourth is in flight; the others continue."""
    wishes = [SamplingParams(8, seed=row) for row in range(4)]
    stop = both(model, wishes, prompts_for(4)).ids()[2][2]
    wishes[2] = SamplingParams(8, seed=2, stop_token_ids=frozenset([stop]))
    found = both(model, wishes, prompts_for(4)).ids()
    assert found[2][-1] == stop
    assert [len(tokens) for tokens in found] == [8, 8, 3, 8]


def test_a_removed_sequence_gets_no_token_already_in_flight(model):
    cache = KVCache(model.config, 20, torch.float32, torch.device("cpu"))
    forward = GraphedForward(model, cache, record_calls)
    made = Runner(model, cache, max_batch=2, max_context=100, prefill_chunk=64, forward=forward)
    kept, cancelled = (Sequence((5, row), SamplingParams(6, seed=row)) for row in range(2))
    made.add(kept)
    made.add(cancelled)
    for _ in range(3):
        made.step()
    made.remove(cancelled)
    assert {step.sequence for step in [step for _ in range(6) for step in made.step()]} == {kept}
    assert made.scheduler.pages["used"] == 0


def test_non_finite_logits_fail_only_their_sequence(model):
    """One sequence reads a token whose embedding is NaN when its next token is in flight."""
    wishes = [SamplingParams(6, seed=row) for row in range(4)]
    prompts = prompts_for(5)[1:]
    tokens = both(model, wishes, prompts).ids()
    seen = Counter(token for ids in (*tokens, *prompts) for token in ids)
    row, place = next(
        (row, place) for row in range(4) for place in range(1, 4) if seen[tokens[row][place]] == 1
    )
    broken = random_transformer(num_hidden_layers=2)
    broken.embedding.weight[tokens[row][place]] = math.nan
    found = both(broken, wishes, prompts).ids()
    assert found.pop(row) == [*tokens[row][: place + 1], None]
    assert found == [each for other, each in enumerate(tokens) if other != row]


class Counting:
    """A grammar in which the remainder of each token modulo 7 increases by one."""

    def __init__(self, last=0):
        self.last = last

    def start(self, prompt):
        return Counting(prompt[-1])

    def take(self, token):
        if (token - self.last) % 7 != 1:
            return False
        self.last = token
        return True

    def allowed(self):
        return (torch.arange(300) - self.last) % 7 == 1


def test_a_constraint_holds_for_each_token(model):
    """There are so few pages that a sequence restarts in the middle of its completion."""
    wishes = [SamplingParams(100, seed=row, grammar=Counting()) for row in range(2)]
    wishes.append(SamplingParams(20, seed=3))
    prompts = [TEXT[:60], TEXT[100:160], TEXT[:9]]
    found = both(model, wishes, prompts, pages=5)
    assert found.runner.scheduler.tally.preemptions > 0
    for prompt, tokens in zip(prompts[:2], found.ids(), strict=False):
        assert all((right - left) % 7 == 1 for left, right in pairwise([prompt[-1], *tokens]))


def test_batch_sizes_are_rounded_up_to_few_buckets():
    sizes = {rows: bucket(rows) for rows in range(1, 257)}
    assert all(rows <= size < rows + (16 if rows <= 64 else 64) for rows, size in sizes.items())
    assert all(bucket(size) == size for size in sizes.values())
    assert len(set(sizes.values())) == 11
    assert [width_for([Row((1,), start, None, None)]) for start in (0, 1023, 1024, 131071)] == [
        16, 16, 128, 2048,
    ]  # fmt: skip
