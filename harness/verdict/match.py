"""The likely causes of a run's findings: a noisy-or model of known and similar defects. No I/O.

Each defect makes each check have findings with its own probability, independently of other defects
(a two-level network of causes and findings, Shwe et al. 1991). Sets of up to six defects are
weighed by Bayes' rule. A defect may show in only some replies or in one API, so its rate and its
APIs are hidden variables. Most defects of servers are in no catalogue: for every known defect,
unknown ones are weighed that share a part of its findings, and each finding may come from an
unknown defect that has no others. Checks with findings therefore show in which layer a defect is,
but rarely which defect it is. A cause is a layer with the findings that it probably causes; the
known defects with such findings are examples.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.records.analysis import RuleResult
from harness.records.conditions import BOTH_APIS, Api
from harness.records.diagnosis import (
    Cause,
    ComponentFault,
    Diagnosis,
    KnownDefect,
    Signature,
    Signatures,
)
from harness.verdict.signatures import collateral, firing, layers, leak, links

CONFIDENT = 0.6  # probability from which a cause is named
MOST_CAUSES = 3  # causes that are named
_MOST_DEFECTS = 6  # defects that are weighed together
_NUMBER = 3.0  # average number of defects of a server that has any
_KNOWN = 0.3
"""Prior share of defects that are in the catalogue. It is so for 33 of 141 defects (23 %) of
`benchmarks/others.json`, whose author did not know the catalogue; with 40 %, too many causes
above 90 % were wrong."""
_LIKENESSES: Mapping[float, float] = {0.9: 0.175, 0.5: 0.175}
"""Prior shares of unknown defects, by the share of the pattern of a known defect that they have."""
_ALONE = 0.35  # prior share of unknown defects that cause one finding
_SAME_LAYER = 0.75
"""Probability that an unknown defect is in the layer of the known one it resembles. Of 80 % and
75 %, the latter has fewer wrong causes of unlisted defects (`benchmarks/diagnosis.py`)."""
_SAME_LAYER_ALONE = 0.9
"""Probability that an unknown defect with one finding is in a layer of known ones that cause it."""
_USUAL = 0.004  # lowest probability that an unknown defect makes a check have findings
_RATES: Mapping[float, float] = {1.0: 0.5, 0.2: 0.3, 0.05: 0.2}
"""Shares of replies that show a defect, with their prior probabilities."""
_WIDTH = 30  # sets of defects of each size that are extended by another defect
_OF_THE_MODEL = frozenset({"numerics"})
"""Layers whose defects are examples only if a finding names them: which findings they cause depends
on the model."""
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
_EXAMPLES = 3  # most known defects that are examples of a cause
_EXAMPLE = 0.1
"""Share of the probability of the first example that further ones have at least."""

_Floats = NDArray[np.float64]


def diagnose(
    results: Sequence[RuleResult],
    signatures: Signatures,
    apis: Collection[Api],
    components: tuple[ComponentFault, ...] = (),
) -> Diagnosis | None:
    """The likely causes of the errors and warnings of a run; None without these and `components`.

    Causes of errors precede causes of warnings; within both, the more probable precede the others.
    Only checks that judged something are evidence, and only errors and warnings are findings.
    `components` are those known to be at fault.
    """
    found = [each for each in results if each.applicable and each.status in ("warned", "failed")]
    clean = [r for r in results if r.applicable and r.status == "passed" and not r.failures]
    if not found:
        if not components:
            return None
        return Diagnosis(causes=(), unexplained=(), components=components)
    model = _Model(clean, found, signatures, apis)
    errors = {each.check.id for each in found if each.status == "failed"}
    causes = sorted(_causes(model), key=lambda each: errors.isdisjoint(each.explains))[:MOST_CAUSES]
    explained = {each for cause in causes for each in cause.explains}
    unexplained = (each.check.id for each in found)
    return Diagnosis(
        causes=tuple(causes),
        unexplained=tuple(each for each in unexplained if each not in explained),
        components=components,
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

    A variant is a known defect, or an unknown one that resembles it, that shows in a share of the
    replies of some APIs. Known defects that explain no finding are left out. `_leaks` are, by
    finding, the probabilities that no variant causes it.
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
        alone = _NUMBER * _ALONE * usual / all_usual
        self._leaks = healthy + alone
        self._layers_alone = (alone / self._leaks)[:, None] * _layers_of(signatures.faults, fires)
        scopes = _scopes(apis)
        shown = [fires * _in_scope(signatures.faults, found, apis, each) for each in scopes]
        chosen = (np.max(shown, axis=0) >= _EXPLAINS).any(axis=1)
        self.faults = [fault for fault, one in zip(signatures.faults, chosen, strict=True) if one]
        self.named = {index for index, each in enumerate(named[chosen]) if each.any()}
        quiet = _fires(self.faults, clean, by_layer, unmeasured=False)
        variants = []
        for (scope, scope_share), here in zip(scopes.items(), shown, strict=True):
            able = np.array([not scope.isdisjoint(each.check.apis) for each in clean], dtype=float)
            for rate, rate_share in _RATES.items():
                many = np.array([1 - (1 - rate) ** each.applicable for each in found])
                few = np.array([1 - (1 - rate) ** each.applicable for each in clean]) * able
                for likeness, share in {1.0: _KNOWN, **_LIKENESSES}.items():
                    prior = _NUMBER * scope_share * rate_share * share / len(signatures.faults)
                    least = 0 if likeness == 1 else _USUAL
                    variants.append(
                        (
                            np.maximum(likeness * here[chosen], least) * many,
                            np.log(prior) + np.log1p(-likeness * quiet * few).sum(axis=1),
                            np.full(len(self.faults), likeness == 1),
                        )
                    )
        columns = [np.concatenate(each) for each in zip(*variants, strict=True)]
        self._shown, self._priors, self._is_known = columns

    def _sets(self) -> Iterator[tuple[_Set, float]]:
        """The weighed sets of defects, with their posterior probabilities."""
        none = _Set((), np.ones(len(self.found)), 0.0, float(np.log(self._leaks).sum()))
        level, every = [none], [none]
        for _ in range(_MOST_DEFECTS):
            made = {one.variants: one for each in level for one in self._extended(each)}
            level = sorted(made.values(), key=lambda one: -one.weight)[:_WIDTH]
            every += level
        weights = np.array([each.weight for each in every])
        odds_of = np.exp(weights - weights.max())
        yield from zip(every, odds_of / odds_of.sum(), strict=True)

    def _extended(self, base: _Set) -> Iterator[_Set]:
        """The set extended by one further defect; only the more probable ones."""
        silent = base.silent * (1 - self._shown)
        prior = base.prior + self._priors
        weights = prior + np.log1p(-silent * (1 - self._leaks)).sum(axis=1)
        for index in np.argsort(-weights)[:_WIDTH]:
            if index not in base.variants:
                variants = tuple(sorted((*base.variants, int(index))))
                yield _Set(variants, silent[index], float(prior[index]), float(weights[index]))

    def shares(self) -> tuple[_Floats, _Floats]:
        """By finding, the probability that each layer causes it, and each known defect.

        In a set of defects, each causes a share of a finding in proportion to its probability to
        make the check have findings.
        """
        known = np.zeros((len(self.found), len(self.faults)))
        similar = np.zeros_like(known)
        alone = np.zeros(len(self.found))
        for each, chance in self._sets():
            rows = list(each.variants)
            parts = chance / (self._leaks + self._shown[rows].sum(axis=0))
            alone += parts * self._leaks
            for row in rows:
                made = known if self._is_known[row] else similar
                made[:, row % len(self.faults)] += parts * self._shown[row]
        by_layer = (known + _SAME_LAYER * similar) @ _in_layers(self.faults)
        return by_layer + alone[:, None] * self._layers_alone, known


def _in_layers(faults: Sequence[Signature]) -> _Floats:
    """By fault and layer, 1 where the fault is in the layer."""
    made = [[float(fault.layer == each) for each in layers()] for fault in faults]
    return np.array(made).reshape(len(faults), len(layers()))


def _layers_of(faults: Sequence[Signature], fires: _Floats) -> _Floats:
    """By finding and layer, the probability that an unknown defect with this finding is in it.

    Known defects with few findings count more.
    """
    sizes = [max(1, len(each.found) or len(each.expected)) for each in faults]
    weights = (fires / np.sqrt(sizes)[:, None]).T @ _in_layers(faults)
    shares: _Floats = weights / weights.sum(axis=1, keepdims=True)
    return _SAME_LAYER_ALONE * shares


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
    """The layers that probably cause findings, most probable first."""
    by_layer, known = model.shares()
    names = list(layers())
    groups: dict[int, list[int]] = {}
    for finding, layer in enumerate(by_layer.argmax(axis=1)):
        if by_layer[finding, layer] >= CONFIDENT:
            groups.setdefault(int(layer), []).append(finding)
    made = [
        _cause(names[layer], by_layer[group, layer].mean(), model, group, known[group].mean(axis=0))
        for layer, group in groups.items()
    ]
    yield from sorted(made, key=lambda each: -each.probability)


def _cause(
    layer: str, probability: float, model: _Model, findings: Sequence[int], known: _Floats
) -> Cause:
    """A layer as the cause of findings; `known` are the probabilities of the known defects."""
    able = [
        index
        for index in np.argsort(-known, kind="stable")
        if model.faults[index].layer == layer
        and (index in model.named or layer not in _OF_THE_MODEL)
    ]
    examples = [model.faults[i] for i in able[:_EXAMPLES] if known[i] >= _EXAMPLE * known[able[0]]]
    about = layers()[layer]
    return Cause(
        layer=layer,
        description=about.title,
        effect=about.effect,
        remedy=about.remedy,
        probability=float(probability),
        examples=tuple(
            KnownDefect(name=e.name, description=e.description, sources=links(e.source))
            for e in examples
        ),
        explains=tuple(model.found[index] for index in findings),
    )
