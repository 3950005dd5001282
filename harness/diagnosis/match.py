"""The likely causes of a run's findings: a noisy-or model of known and unknown defects. No I/O.

Each defect makes each check have findings with its own probability, independently of other defects
(a two-level network of causes and findings, Shwe et al. 1991). Sets of up to six defects are
weighed by Bayes' rule. A defect may show in only some replies or in one API, so its rate and its
APIs are hidden variables. For every known defect, an unknown one is weighed that resembles it but
shares only some of its findings, and each finding may come from an unknown defect that has no
others; a pattern that fits no known defect well is therefore left unexplained. Defects that the
findings cannot tell apart are one cause; if they are too many to name, the cause is their layer.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis.signatures import collateral, firing, layers, leak, links
from harness.records.analysis import RuleResult
from harness.records.conditions import BOTH_APIS, Api
from harness.records.diagnosis import Cause, Diagnosis, LayerFault, Signature, Signatures

CONFIDENT = 0.6  # probability from which a cause is named
MOST_CAUSES = 3  # causes that are named
_MOST_DEFECTS = 6  # defects that are weighed together
_NUMBER = 3.0  # average number of defects of a server that has any
_UNKNOWN = 0.15
"""Prior share of defects that are not in the catalogue: half of them resemble a known one."""
_LIKENESS = 0.5
"""Share of its pattern that an unknown defect has in common with the known one it resembles."""
_SAME_LAYER = 0.8
"""Probability that an unknown defect is in the layer of the known one it resembles."""
_USUAL = 0.004  # lowest probability that an unknown defect makes a check have findings
_RATES: Mapping[float, float] = {1.0: 0.5, 0.2: 0.3, 0.05: 0.2}
"""Shares of replies that show a defect, with their prior probabilities."""
_WIDTH = 30  # sets of defects of each size that are extended by another defect
_OF_THE_MODEL = frozenset({"numerics"})
"""Layers whose defects are named by the layer, unless a finding names them: which findings they
cause depends on the model."""
_UNMEASURED = 0.7  # the highest probability of a defect whose findings only the catalogue states
_EXPLAINS = 0.1  # probability from which a defect explains a finding
_ONE_API = 0.3
"""Share of servers with a defect that have it in one API only, although it was known in several."""
_OTHER_APIS, _OTHER_APIS_OF_FEW = 0.02, 0.3
"""Relative probability that a defect shows in other APIs than expected; the second if one of the
runs had too few findings to tell."""
_MANY = 3  # findings in one API from which their absence in another one is significant
_OTHER_NAMED = 0.02
"""Relative probability that a defect causes a finding that names another or is too frequent."""
_MORE_OFTEN = 2.0
"""Factor by which a check may have more findings than in a run against the defect; test cases and
models differ."""
_EXCESS = 0.001  # probability below which more findings are not caused by the defect alone
_LISTED = 4  # most defects that are named as one cause
_ENOUGH = 0.99
"""Share of their joint probability that suffices to leave out the less probable of them."""
_SAME = 0.5  # share of explained findings in common from which two defects are one cause

_Floats = NDArray[np.float64]


def diagnose(
    results: Sequence[RuleResult],
    signatures: Signatures,
    apis: Collection[Api],
    layers: tuple[LayerFault, ...] = (),
) -> Diagnosis | None:
    """The likely causes of the errors and warnings of a run; None without findings and layers.

    Causes of errors precede causes of warnings; within both, the more probable precede the others.
    Only checks that judged something are evidence, and only errors and warnings are findings.
    `layers` are those known to be at fault.
    """
    found = [each for each in results if each.applicable and each.status in ("warned", "failed")]
    clean = [r for r in results if r.applicable and r.status == "passed" and not r.failures]
    if not found:
        return Diagnosis(causes=(), unexplained=(), layers=layers) if layers else None
    model = _Model(clean, found, signatures, apis)
    errors = {each.check.id for each in found if each.status == "failed"}
    causes = sorted(_causes(model), key=lambda each: errors.isdisjoint(each.explains))[:MOST_CAUSES]
    explained = {each for cause in causes for each in cause.explains}
    unexplained = (each.check.id for each in found)
    return Diagnosis(
        causes=tuple(causes),
        unexplained=tuple(each for each in unexplained if each not in explained),
        layers=layers,
    )


@dataclass(frozen=True)
class _Set:
    """Defects (indices of variants) with the logarithm of their joint weight.

    `silent` is, by finding, the probability that none of them causes it; `prior` the logarithm of
    their prior probability and of that of the checks without findings.
    """

    variants: tuple[int, ...]
    silent: _Floats
    prior: float
    weight: float


class _Model:
    """The probabilities of a run's findings under each variant of each defect.

    A variant is a known defect, or an unknown one that resembles it (owner -1), that shows in a
    share of the replies of some APIs. Known defects that explain no finding are left out. `_leaks`
    are, by finding, the probabilities that no defect causes it.
    """

    def __init__(
        self,
        clean: Sequence[RuleResult],
        found: Sequence[RuleResult],
        signatures: Signatures,
        apis: Collection[Api],
    ) -> None:
        self.found = [each.check.id for each in found]
        by_layer = collateral(signatures)
        named = _named_in(found, signatures.faults)
        fires = _fires(signatures.faults, found, by_layer)
        other = (named.any(axis=0) & ~named) | _exceeding(found, signatures.faults)
        fires = np.where(other, _OTHER_NAMED * fires, fires)
        usual = np.maximum(fires.mean(axis=0), _USUAL)
        all_usual = usual.sum() + _fires(signatures.faults, clean, by_layer).mean(axis=0).sum()
        healthy = np.array([leak(signatures, each) for each in self.found])
        self._leaks = healthy + _NUMBER * _UNKNOWN / 2 * usual / all_usual
        scopes = _scopes(apis)
        shown = [fires * _in_scope(signatures.faults, found, apis, each) for each in scopes]
        explained = np.max(shown, axis=0) >= np.maximum(_EXPLAINS, 3 * healthy)
        chosen = explained.any(axis=1)
        self.faults = [fault for fault, one in zip(signatures.faults, chosen, strict=True) if one]
        self.named = {index for index, each in enumerate(named[chosen]) if each.any()}
        self._explained = explained[chosen]
        quiet = _fires(self.faults, clean, by_layer, unmeasured=False)
        numbers, nobody = np.arange(len(self.faults)), np.full(len(self.faults), -1)
        variants = []
        for (scope, scope_share), here in zip(scopes.items(), shown, strict=True):
            able = np.array([not scope.isdisjoint(each.check.apis) for each in clean], dtype=float)
            alike = np.maximum(_LIKENESS * here[chosen], _USUAL)
            for rate, rate_share in _RATES.items():
                many = np.array([1 - (1 - rate) ** each.applicable for each in found])
                few = np.array([1 - (1 - rate) ** each.applicable for each in clean]) * able
                prior = np.log(_NUMBER * scope_share * rate_share / len(signatures.faults))
                known = np.log(1 - _UNKNOWN) + prior + np.log1p(-quiet * few).sum(axis=1)
                like = np.log(_UNKNOWN / 2) + prior + np.log1p(-_LIKENESS * quiet * few).sum(axis=1)
                variants.append((here[chosen] * many, known, numbers, numbers))
                variants.append((alike * many, like, nobody, numbers))
        columns = [np.concatenate(each) for each in zip(*variants, strict=True)]
        self._shown, self._priors, self.owners, self._resembled = columns

    @cached_property
    def sets(self) -> tuple[list[_Set], _Floats]:
        """The weighed sets of defects, with their posterior probabilities."""
        none = _Set((), np.ones(len(self.found)), 0.0, float(np.log(self._leaks).sum()))
        level, every = [none], [none]
        for _ in range(_MOST_DEFECTS):
            made = {one.variants: one for each in level for one in self._extended(each)}
            level = sorted(made.values(), key=lambda one: -one.weight)[:_WIDTH]
            every += level
        weights = np.array([each.weight for each in every])
        odds_of = np.exp(weights - weights.max())
        return every, odds_of / odds_of.sum()

    def _extended(self, base: _Set) -> Iterator[_Set]:
        """The set extended by one further defect; only the more probable ones."""
        silent = base.silent * (1 - self._shown)
        prior = base.prior + self._priors
        weights = prior + np.log1p(-silent * (1 - self._leaks)).sum(axis=1)
        for index in np.argsort(-weights)[:_WIDTH]:
            if index not in base.variants:
                variants = tuple(sorted((*base.variants, int(index))))
                yield _Set(variants, silent[index], float(prior[index]), float(weights[index]))

    def probability(self, faults: Sequence[int]) -> float:
        """The probability that at least one of these faults is present."""
        return self._sum(set(faults), self.owners)

    def probability_of_layer(self, faults: Sequence[int]) -> float:
        """The probability that the layer of these faults has one of them, or a similar defect."""
        known = self.probability(faults)
        return known + _SAME_LAYER * (self._sum(set(faults), self._resembled) - known)

    def _sum(self, wanted: Collection[int], owners: NDArray[np.int64]) -> float:
        """The probability of all sets of defects that have one of these owners."""
        every, posterior = self.sets
        return float(
            sum(
                chance
                for each, chance in zip(every, posterior, strict=True)
                if any(int(owners[index]) in wanted for index in each.variants)
            )
        )

    def ranked(self) -> list[int]:
        """The faults in order of their probabilities, the improbable ones left out."""
        every, posterior = self.sets
        chances = np.zeros(len(self.faults))
        for each, chance in zip(every, posterior, strict=True):
            for owner in {int(self.owners[index]) for index in each.variants} - {-1}:
                chances[owner] += chance
        order = [int(index) for index in np.argsort(-chances, kind="stable")]
        return [index for index in order if chances[index] >= 1 / 200]

    def explained(self, fault: int) -> frozenset[str]:
        """The findings that a fault explains."""
        explained = zip(self.found, self._explained[fault], strict=True)
        return frozenset(name for name, is_explained in explained if is_explained)


def _fires(
    faults: Sequence[Signature],
    checks: Sequence[RuleResult],
    by_layer: Mapping[tuple[str, str], float],
    *,
    unmeasured: bool = True,
) -> _Floats:
    """By fault and check, the probability that the check has findings.

    Without `unmeasured`, it is 0 where a fault was not tested with a check that the catalogue does
    not name: if this check has no findings, that is not evidence against the fault.
    """
    made = np.zeros((len(faults), len(checks)))
    for row, fault in enumerate(faults):
        for column, each in enumerate(checks):
            name = each.check.id
            if unmeasured or name in fault.found or name in fault.expected:
                made[row, column] = firing(fault, name, by_layer)
    return made


def _named_in(found: Sequence[RuleResult], faults: Sequence[Signature]) -> NDArray[np.bool_]:
    """By fault and finding, whether the finding names the fault, as `numerics.defect` does."""
    made = np.zeros((len(faults), len(found)), dtype=bool)
    for column, each in enumerate(found):
        for row, fault in enumerate(faults):
            made[row, column] = any(f"({fault.name})" in one.message for one in each.examples)
    return made


def _exceeding(found: Sequence[RuleResult], faults: Sequence[Signature]) -> NDArray[np.bool_]:
    """By fault and finding, whether the check has far more findings than the fault can cause.

    A fault of one reply in eight does not explain findings in nine of ten (binomial test).
    """
    from scipy.special import betainc

    made = np.zeros((len(faults), len(found)), dtype=bool)
    for column, each in enumerate(found):
        for row, fault in enumerate(faults):
            with_findings, judged = fault.found.get(each.check.id, (0, 0))
            most = min(1.0, _MORE_OFTEN * (with_findings + 1) / (judged + 2))
            if with_findings and most < 1:
                fewer = each.applicable - each.failures
                made[row, column] = betainc(each.failures, fewer + 1, most) < _EXCESS
    return made


def _scopes(apis: Collection[Api]) -> Mapping[frozenset[Api], float]:
    """The sets of APIs in which a defect may show, with their prior probabilities.

    It shows in all of them, in all that the provider converts, or in one.
    """
    every = frozenset(apis)
    together = {every, every & frozenset(BOTH_APIS) or every}
    alone = {frozenset([api]) for api in apis} - together
    shares = dict.fromkeys(alone, _ONE_API / max(1, len(alone)))
    return {**dict.fromkeys(together, (1 - sum(shares.values())) / len(together)), **shares}


def _in_scope(
    faults: Sequence[Signature],
    found: Sequence[RuleResult],
    apis: Collection[Api],
    scope: frozenset[Api],
) -> _Floats:
    """By fault and finding, the probability that the finding shows in the APIs in which it does.

    It is relative to that of the pattern that the fault is known for: to show in every API of
    `scope`, unless a run against it had findings in some of them only. Defects of streaming show
    in streams.
    """
    made = np.ones((len(faults), len(found)))
    for column, each in enumerate(found):
        able = set(each.check.apis) & set(apis)
        shown = set(each.apis) & able
        whole = each.groups and all(group.endswith("non-streaming") for group in each.groups)
        for row, fault in enumerate(faults):
            name = each.check.id
            known = set(fault.partial.get(name, able)) & able & scope
            if (able and not known) or (fault.layer == "streaming" and whole):
                made[row, column] = 0
            elif shown and shown != known:
                clear = _clear(fault.found.get(name, (0, 0))) and _clear(
                    (each.failures, each.applicable)
                )
                made[row, column] = _OTHER_APIS if clear else _OTHER_APIS_OF_FEW
    return made


def _clear(counts: tuple[int, int]) -> bool:
    """Whether the findings of a check are enough to show in which APIs it has none."""
    found, applicable = counts
    return found >= _MANY or 2 * found >= applicable > 1


def _causes(model: _Model) -> Iterator[Cause]:
    """All causes that are probable enough to be named, most probable first."""
    groups: list[list[int]] = []
    for fault in model.ranked():
        group = next((each for each in groups if _alike(model, each[0], fault)), None)
        if group is None:
            groups.append([fault])
        else:
            group.append(fault)
    chances = {group[0]: model.probability(group) for group in groups}
    named: set[str] = set()
    for group in sorted(groups, key=lambda each: -chances[each[0]]):
        explains = [each for each in model.found if each in model.explained(group[0]) - named]
        cause = _cause(model, group, explains)
        if cause is not None and explains:
            named |= set(explains)
            yield cause


def _alike(model: _Model, one: int, other: int) -> bool:
    here, there = model.explained(one), model.explained(other)
    return bool(here & there) and len(here & there) >= _SAME * len(here | there)


def _cause(model: _Model, group: Sequence[int], explains: Sequence[str]) -> Cause | None:
    """A few defects, or a layer of the server; None if neither is probable enough."""
    few = [
        index
        for index in group[:_LISTED]
        if index in model.named or model.faults[index].layer not in _OF_THE_MODEL
    ]
    while len(few) > 1 and model.probability(few[:-1]) >= _ENOUGH * model.probability(few):
        few.pop()
    first, *others = [model.faults[index] for index in few] or [model.faults[group[0]]]
    chance = min(model.probability(few), 1 if first.measured else _UNMEASURED)
    if chance >= CONFIDENT:
        also = tuple(each.description for each in others)
        return _named(first.name, first, chance, also, explains)
    by_layer: dict[str, list[int]] = {}
    for index in group:
        by_layer.setdefault(model.faults[index].layer, []).append(index)
    chances = {each: model.probability_of_layer(by_layer[each]) for each in by_layer}
    layer = max(chances, key=chances.__getitem__)
    if chances[layer] < CONFIDENT:
        return None
    members = [model.faults[index] for index in by_layer[layer][:_LISTED]]
    examples = tuple(each.description for each in members)
    return _named(layer, members[0], chances[layer], examples, explains)


def _named(
    name: str,
    fault: Signature,
    probability: float,
    alternatives: tuple[str, ...],
    explains: Sequence[str],
) -> Cause:
    """A cause with what is known about a fault, or about its layer if the layer is named."""
    about, exact = layers()[fault.layer], name == fault.name
    return Cause(
        name=name,
        layer=fault.layer,
        description=fault.description if exact else about.title,
        effect=about.effect,
        remedy=about.remedy,
        sources=links(fault.source) if exact else (),
        probability=probability,
        alternatives=alternatives,
        explains=tuple(explains),
    )
