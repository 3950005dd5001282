"""The numeric faults that the golden file finds, by method and number of tokens.

    python benchmarks/numerics.py [FAULT …]

Each fault's model runs in this process and answers the Chat Completions requests of the numerics
probes, which judge the replies. Faults run in bfloat16, including the residual stream. Without
names: the healthy engine in several number formats, and every fault of the model's numbers or the
choice of tokens.
"""

import argparse
import asyncio
import contextlib
import copy
import gc
import os
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from functools import cache

import httpx
import torch
from starlette.applications import Starlette

from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.golden import files
from harness.probes import golden_prompts, numerics
from harness.probes.probe import ProbeOptions, ProbeRequest
from harness.probes.rule_results import probe_results
from harness.records.analysis import RuleResult
from harness.records.conditions import Condition
from harness.records.rollouts import Exchange, Request, Response, Rollout
from reference_engine.checkpoint import load_model
from reference_engine.faults.catalogue import CATALOGUE
from reference_engine.faults.server import faulty_parts
from reference_engine.generation.engine import Engine
from reference_engine.model.transformer import Transformer
from reference_engine.server.settings import SMALL_CHECKPOINT, AppSettings

_MODEL = "gpt-oss-small"
_PATH = "/v1/chat/completions"
_CONDITION = Condition(model=_MODEL, api="chat", mode="non-streaming")
_POINTS = {"model", "input", "logits", "sampling", "tokens"}
_HEALTHY = (("float32", "float32"), ("bfloat16", "float32"), ("bfloat16", "bfloat16"))
"""Number formats of the weights and of the residual stream."""


@cache
def loaded(dtype: str, residual: str) -> Transformer:
    """The healthy model."""
    weights, stream = (getattr(torch, name) for name in (dtype, residual))
    return load_model(SMALL_CHECKPOINT, dtype=weights, residual=stream)


@contextlib.contextmanager
def serving(faults: Sequence[str], dtype: str, residual: str) -> Iterator[Starlette]:
    """The application with these faults around a running engine."""
    parts = faulty_parts(faults)
    model = parts.model(copy.deepcopy(loaded(dtype, residual)))
    engine = Engine(model, max_context=2048, sampler=parts.sampler)
    engine.start()
    try:
        yield parts.app(engine, AppSettings())
    finally:
        engine.close()


async def rollouts(app: Starlette, task: str, requests: Sequence[ProbeRequest]) -> list[Rollout]:
    """The answers to all requests of a task, sent concurrently."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://engine", timeout=None
    ) as client:

        async def one(request: ProbeRequest, number: int) -> Rollout:
            body = golden_prompts.body("chat", request, _MODEL)
            if request.temperature:
                body["seed"] = zlib.crc32(request.id.encode()) + number
            reply = await client.post(_PATH, json=body)
            exchange = Exchange(
                request=Request(method="POST", url=_PATH, headers={}, body=body),
                response=Response(status=reply.status_code, headers={}, body=reply.text),
                started_at="",
                elapsed=0.0,
            )
            return Rollout(
                id=f"{task}/{request.id}/{number}",
                task=task,
                sample=request.id,
                condition=_CONDITION,
                attempt=number,
                end="answered",
                exchanges=(exchange,),
            )

        return await asyncio.gather(
            *(one(request, k) for request in requests for k in range(1, request.tries + 1))
        )


def judged(app: Starlette, *, drawn: bool) -> tuple[list[RuleResult], int]:
    """The results of the probes, and the number of generated tokens."""
    results: list[RuleResult] = []
    tokens = 0
    for group in [numerics.GROUP, numerics.DRAWN_GROUP] if drawn else [numerics.GROUP]:
        found: dict[str, list[ParsedRollout]] = {}
        for each in asyncio.run(rollouts(app, group.name, list(group.requests("chat")))):
            found.setdefault(each.sample, []).append(parse_rollout(each))
        tokens += sum(
            reply.usage.output_tokens or 0
            for replies in found.values()
            for parsed in replies
            for _, reply in parsed.replies
            if reply.usage
        )
        options = ProbeOptions(_MODEL, ("chat",), golden=files.shipped())
        results += probe_results(group.probes, found, options)
    return results, tokens


def shown(result: RuleResult) -> str:
    """The result of a probe, as one cell of a table."""
    if result.status in ("passed", "not_verifiable"):
        return "–" if result.status == "passed" else "not verifiable"
    if result.check.id == "numerics.greedy":
        return f"{result.failures} of {result.applicable} replies"
    if result.check.id == "numerics.defect":
        return result.examples[0].message.partition("(")[2].partition(")")[0]
    return f"{result.examples[0].evidence.got}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*")
    parser.add_argument("--drawn", action="store_true", help="also sample at temperature 1")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    torch.set_num_threads(1)
    names = arguments.faults or [
        name
        for name, fault in CATALOGUE.items()
        if fault.layer in ("numerics", "sampling") and not _POINTS.isdisjoint(fault.changes)
    ]
    rows = [(name, [name], "bfloat16", "bfloat16") for name in names if name != "healthy"]
    if not arguments.faults or "healthy" in names:
        rows[:0] = [(f"none, {dtype}, {kept} stream", [], dtype, kept) for dtype, kept in _HEALTHY]
    print("| engine | logprobs | precision | defect | greedy | drawn | tokens | s |")
    print("| --- | --- | --- | --- | --- | --- | ---: | ---: |")
    for name, faults, dtype, residual in rows:
        began = time.monotonic()
        with serving(faults, dtype, residual) as app:
            results, tokens = judged(app, drawn=arguments.drawn)
        cells = [shown(result) for result in results] + [""] * (5 - len(results))
        print(f"| {name} | {' | '.join(cells)} | {tokens} | {time.monotonic() - began:.0f} |")
        sys.stdout.flush()
        gc.collect()


if __name__ == "__main__":
    main()
