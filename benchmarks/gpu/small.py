"""The shipped small checkpoint on the GPU: greedy replies, compared with those of the CPU."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import torch

from reference_engine.generation.forward import MakeForward
from reference_engine.generation.graphs import forward_for
from reference_engine.generation.ragged import RaggedForward
from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.generation.sequence import Sequence as TokenSequence
from reference_engine.kv_cache.cache import KVCache
from reference_engine.model.transformer import Transformer
from reference_engine.small import SMALL_CHECKPOINT

from .engine import CHUNK, NotFiniteError, graphed
from .http import missing
from .measuring import Result, Setup, Task, not_measured

BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 0.2}
"""Largest difference of a token's logprob from the CPU in float32. With Triton 3.6.0, the
differences were at most 3.2e-6 and 0.045 on an H100, 2.4e-6 and 0.046 on an H200."""
DATA = Path(__file__).parents[2] / "harness" / "data"
WITHOUT_FUNCTIONS = 4
"""Number of questions that are also asked without a function."""
PAGES = 32
"""Pages of the KV cache for each prompt of a batch: both kinds of layers, 1,024 tokens."""

Prompt = tuple[int, ...]


def small(setup: Setup) -> Iterator[Task]:
    """Whether the small checkpoint replies to questions as on a CPU in float32, token for token."""
    if why := missing("reference_engine.checkpoint"):
        yield Task("small checkpoint", lambda: [not_measured("small checkpoint", why)])
        return
    from reference_engine.checkpoint import load_model

    asked, tokens, variants = prompts(), 512, list(product((1, 32), (None, 0)))
    if not setup.on_gpu:
        asked, tokens, variants = [prompt[:9] for prompt in asked[:2]], 2, [(2, 0)]
    plain = load_model(SMALL_CHECKPOINT, "cpu", torch.float32)
    expected = _replies(plain, asked, tokens, 0, 32, forward_for)
    for dtype in BOUNDS if setup.on_gpu else (torch.float32,):
        model = load_model(SMALL_CHECKPOINT, setup.device, dtype, kernels="triton", packed=True)
        for mode, (rows, top) in product(("graphs", "eager"), variants):
            number, kind = str(dtype).removeprefix("torch."), "without" if top is None else "with"
            name = f"{number}, {mode}, {rows} rows, {kind} logprobs"
            forward = graphed(setup) if mode == "graphs" else RaggedForward
            run = partial(_replies, model, asked, tokens, top, rows, forward)
            yield Task(name, partial(_compared, name, run, expected, BOUNDS[dtype]))


def prompts() -> list[Prompt]:
    """The shipped questions, each with its function, and a few of them without."""
    from harmony.conversation import Conversation, Developer, FunctionTool, User
    from harmony.render import render_prompt

    tools = {
        tool["name"]: FunctionTool(tool["name"], tool["description"], tool["parameters"])
        for tool in json.loads((DATA / "tools.json").read_text(encoding="utf-8"))
    }
    lines = (DATA / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    asked = []
    for case in map(json.loads, lines):
        items = (Developer(case.get("instructions", "")), User(case["input"]))
        asked.append(Conversation(items, (tools[case["tool_name"]],)))
    asked += [replace(each, tools=()) for each in asked[:WITHOUT_FUNCTIONS]]
    return [tuple(render_prompt(each)) for each in asked]


def _replies(
    model: Transformer,
    asked: Sequence[Prompt],
    tokens: int,
    top: int | None,
    rows: int,
    forward: MakeForward,
) -> list[list[Token]]:
    """Greedy replies of at most this many tokens, with at most `rows` prompts at a time."""
    from harmony.parse import STOP_TOKENS

    params = SamplingParams(tokens, 0, stop_token_ids=STOP_TOKENS, top_logprobs=top)
    weight = model.unembedding.weight
    longest = max(map(len, asked)) + tokens
    cache = KVCache(model.config, rows * PAGES, weight.dtype, weight.device)
    made = Runner(
        model,
        cache,
        max_batch=rows,
        max_context=longest,
        prefill_chunk=CHUNK,
        forward=forward(model, cache),
    )
    waiting = deque(TokenSequence(prompt, params) for prompt in asked)
    replies: dict[TokenSequence, list[Token]] = {each: [] for each in waiting}
    while waiting or made.scheduler.running:
        while waiting and made.scheduler.fits(waiting[0]):
            made.add(waiting.popleft())
        for step in made.step():
            if step.token is None:
                raise NotFiniteError("a reply has no finite logits")
            replies[step.sequence].append(step.token)
            if step.finished or len(replies[step.sequence]) == tokens:
                made.remove(step.sequence)
    return list(replies.values())


def _compared(
    name: str, run: Callable[[], list[list[Token]]], expected: list[list[Token]], bound: float
) -> Iterator[Result]:
    found = run()
    pairs = list(zip(found, expected, strict=True))
    equal = [[t.id for t in one] == [t.id for t in other] for one, other in pairs]
    note = f"of {len(pairs)}; all required"
    yield Result(f"{name}: equal replies", sum(equal), "", passed=all(equal), note=note)
    differences = [
        abs(left.logprob - right.logprob)
        for (one, other), same in zip(pairs, equal, strict=True)
        for left, right in zip(one, other, strict=True)
        if same
        if left.logprob is not None and right.logprob is not None
    ]
    if differences:
        most = max(differences)
        yield Result(
            f"{name}: difference of logprobs", most, "", None, most <= bound, f"at most {bound}"
        )
