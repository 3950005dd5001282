"""A server of a scripted engine, and an export; a test file may override any of these fixtures."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from plain_attention import without_triton
from scripted import ANSWER, ScriptedEngine, running

from reference_engine.checkpoint.export import export_small


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedEngine, httpx.Client]]:
    """A scripted engine and an HTTP client of its server."""
    engine = ScriptedEngine()
    with running(engine) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield engine, client


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small checkpoint in the layout of Hugging Face, which no test may change."""
    return export_small(tmp_path_factory.mktemp("exported"))


@pytest.fixture
def engine(served):
    """The engine, without recorded prompts; it writes `ANSWER`."""
    served[0].script = lambda *_: ANSWER
    served[0].prompts.clear()
    served[0].params.clear()
    return served[0]


@pytest.fixture
def client(served):
    """The client of the server."""
    return served[1]


@pytest.fixture
def plain_attention() -> Iterator[None]:
    """Attention in plain PyTorch, in the place of the kernel."""
    with without_triton():
        yield
