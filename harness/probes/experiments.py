"""The recorded answers to probes, gathered while a log is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from harness import checks
from harness.golden.records import Golden
from harness.parsing.rollout import ParsedRollout, parse_rollout
from harness.probes.base import Probe
from harness.probes.judging import probe_results
from harness.probes.plan import sample_id
from harness.records.analysis import CheckResult
from harness.records.judgements import Examination
from harness.records.rollouts import Api, Rollout


class Experiments:
    """Takes the rollouts of chosen probes one by one, then judges them.

    Attributes:
        examinations: What the checks of single rollouts say of each, less what it provoked.
        made: How many rollouts there were, those of probes no longer known among them.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        apis: Sequence[Api],
        limitations: Collection[str],
        golden: Golden | None = None,
    ) -> None:
        """Prepare to gather the answers to `probes`; see `probe_results` for the rest."""
        self.examinations: list[Examination] = []
        self._probes = probes
        self._apis = apis
        self._limitations = limitations
        self._golden = golden
        self._asks = {
            (sample_id(probe.bench, ask), api): ask
            for probe in probes
            for api in apis
            for ask in probe.bench.asks(api)
        }
        self.made = 0
        self._views: dict[str, list[ParsedRollout]] = defaultdict(list)

    def add(self, rollout: Rollout) -> None:
        """Take one that was made for a probe; what no chosen probe asks for is only counted."""
        self.made += 1
        ask = self._asks.get((rollout.sample, rollout.api))
        if ask is None:
            return
        seen = parse_rollout(rollout)
        self._views[rollout.sample].append(seen)
        self.examinations.append(checks.examine(seen, except_for=ask.provokes))

    def results(self) -> tuple[CheckResult, ...]:
        """One result for each probe."""
        return probe_results(self._probes, self._views, self._apis, self._limitations, self._golden)
