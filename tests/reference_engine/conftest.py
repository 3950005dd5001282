"""A server in front of a scripted engine; a test file may override any of these fixtures."""

from collections.abc import Iterator

import httpx
import pytest
from scripted import ANSWER, ScriptedEngine, running


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedEngine, httpx.Client]]:
    """A scripted engine and an HTTP client of its server."""
    engine = ScriptedEngine()
    with running(engine) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield engine, client


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
