"""Metrics of the engine and their endpoint, and sizes of memory as text."""

import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scripted import serving, started
from tiny_model import random_transformer

from reference_engine.generation.engine import Engine, SamplingParams
from reference_engine.generation.errors import QueueFullError
from reference_engine.kv_cache.memory import parse_bytes
from reference_engine.metrics import EngineMetrics
from reference_engine.server.app import create_app, metrics_route
from reference_engine.server.settings import AppSettings


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Values by name, without the common prefix, and label values."""
    return {
        (sample.name.removeprefix("reference_engine_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def told(metrics: EngineMetrics) -> dict[tuple[str, ...], float]:
    return samples(metrics.text())


async def test_engine_metrics_count_requests():
    model = random_transformer(num_hidden_layers=2)
    with started(Engine(model, max_queue=1, max_batch=1)) as engine:
        async for _ in engine.generate([7] * 130, SamplingParams(max_tokens=9)):
            pass
        begun = engine.generate([7] * 130, SamplingParams(max_tokens=1000))
        await anext(begun)
        now = told(engine.metrics)
        assert now["requests", "running"] == 1
        assert now["kv_pages", "used"] > 0
        waiting = asyncio.create_task(anext(engine.generate([7], SamplingParams(max_tokens=1))))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await anext(engine.generate([7], SamplingParams(max_tokens=1)))
        await begun.aclose()
        await waiting
    now = told(engine.metrics)
    assert (now["prompt_tokens_total",], now["reused_prompt_tokens_total",]) == (130 + 2 + 1, 128)
    assert now["requests_ended_total", "refused"] == 1
    assert now["requests_ended_total", "cancelled"] == 1
    assert now["requests_ended_total", "finished"] == 2
    assert now["time_to_first_token_seconds_count",] == 3
    assert now["inter_token_seconds_count",] == now["generated_tokens_total",] - 3
    assert now["step_seconds_count",] == now["batch_size_count",] == now["batch_size_sum",]
    assert now["kv_pages", "used"] == 0
    assert now["kv_pages", "known"] > 0


def test_the_metrics_endpoint_requires_the_key():
    engine = Engine(random_transformer(num_hidden_layers=2))
    app = create_app(engine, AppSettings(api_key="secret"))
    app.router.routes.append(metrics_route(engine.metrics))
    with serving(app) as url, httpx.Client(base_url=url.removesuffix("/v1")) as client:
        assert client.get("/metrics").status_code == 401
        reply = client.get("/metrics", headers={"Authorization": "Bearer secret"})
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert samples(reply.content)["requests", "waiting"] == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("3KiB", 3072), ("512MiB", 2**29), ("1.5 GiB", 3 * 2**29), ("5gb", 5_000_000_000)],
)
def test_sizes_are_parsed(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "1", "0GiB", "40G", "-1GiB", "1.5.1GiB", "GiB"])
def test_invalid_sizes_are_rejected(text):
    with pytest.raises(ValueError, match="such as 512MiB"):
        parse_bytes(text)
