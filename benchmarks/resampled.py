"""Faults that the server's app must show: of requests, prompts, parsers, sampling and models.

The app gets the recorded requests again, in process. What the model writes is kept on disk by
prompt and sampling, so that a prompt that a fault does not change costs no sampling.
"""

import hashlib
import pickle
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from corpus import resent

from harness.records.rollouts import Rollout
from reference_engine.backends.token_source import Backend, TokenSource
from reference_engine.faults.catalogue import CATALOGUE
from reference_engine.faults.server import faulty_parts
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.server.serve import open_engine
from reference_engine.server.settings import ServeSettings

_SETTINGS = ServeSettings(max_batch=64, max_context=2048, threads=1)
_OF_FAULTS = ("adjusters", "tokens")  # what a fault of logits adds to the sampling parameters


class _Kept:
    """An engine whose n-th completion of a prompt under equal sampling is always the same."""

    def __init__(
        self, engine: TokenSource, place: sqlite3.Connection, fault: str, *, changed: bool
    ) -> None:
        self.max_context = engine.max_context
        self._engine = engine
        self._place = place
        self._fault, self._model = fault, fault if changed else ""
        self._requests = Counter[str]()

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token]:
        """Yield tokens, see `TokenSource`; all of them are sampled before the first one."""
        said = {name: value for name, value in vars(params).items() if name not in _OF_FAULTS}
        fault = self._fault if len(said) < len(vars(params)) else self._model
        key = hashlib.sha256(repr((fault, tuple(prompt), said)).encode()).hexdigest()
        number = self._requests[key]
        self._requests[key] += 1
        row = self._place.execute(
            "select tokens from kept where key = ? and number = ?", (key, number)
        ).fetchone()
        if row is None:
            tokens = [token async for token in self._engine.generate(prompt, params)]
            kept = pickle.dumps([(one.id, one.logprob, one.top, one.reused) for one in tokens])
            self._place.execute("insert or replace into kept values (?, ?, ?)", (key, number, kept))
        else:
            tokens = [Token(*one) for one in pickle.loads(row[0])]
        for token in tokens:
            yield token


class Server:
    """The engine, which all faults of requests share, and what it has written so far."""

    def __init__(self, kept: Path) -> None:
        self._place = sqlite3.connect(kept, isolation_level=None)
        self._place.execute(
            "create table if not exists kept (key text, number int, tokens blob, "
            "primary key (key, number))"
        )
        self._engine = _started(())

    async def resent(self, rollouts: Sequence[Rollout], fault: str = "") -> list[Rollout]:
        """Return the rollouts with the replies of the server, perhaps with a fault."""
        options = (fault,) if fault else ()
        changed = bool(fault) and CATALOGUE[fault.partition(":")[0]].of_engine
        engine = _started(options) if changed else self._engine
        try:
            source = _Kept(engine, self._place, fault, changed=changed)
            return await resent(rollouts, faulty_parts(options).app(source, _SETTINGS.app))
        finally:
            if changed:
                engine.close()


def _started(options: Sequence[str]) -> Backend:
    engine = open_engine(_SETTINGS, faulty_parts(options))
    engine.start()
    return engine
