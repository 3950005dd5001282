"""The likely causes of a run's findings, by the table `harness/data/layers.yaml`. Pure.

A layer explains the failed rules that match its patterns. Those that show the layer (`direct`)
count twice, those that defects of other layers can cause too (`explains`) count once. The layer
with the highest sum is the cause; further causes are sought among the findings that it leaves. No
cause is named without direct evidence, if another layer explains the same findings as well, or if
most probes of the layer pass and the others fail in few repetitions.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

import yaml
from pydantic import Field, TypeAdapter, model_validator

from harness.records.analysis import RuleResult
from harness.records.diagnosis import Cause, ComponentFault, Diagnosis, Example
from harness.records.record import Record

MOST_CAUSES = 3  # causes that are named
_CHANCE = 0.05  # probability below which the mode of the replies with a finding is no chance


class Direct(Record):
    """A pattern of rules whose failure shows a layer, and under which conditions it does."""

    rule: str
    share: float = Field(default=0.0, description="least share of replies with the finding")
    streaming: bool | None = Field(default=None, description="whether only streams have it")
    refusals: bool = Field(default=False, description="equal refusals in all examples")
    beside: tuple[str, ...] = Field(default=(), description="one of these rules failed too")
    without: tuple[str, ...] = Field(default=(), description="none of these rules failed")

    @model_validator(mode="before")
    @classmethod
    def _from_pattern(cls, value: object) -> object:
        return {"rule": value} if isinstance(value, str) else value

    def shown_by(self, result: RuleResult, failed: Collection[str]) -> bool:
        """Return whether a failed rule, among all of the run, shows the layer."""
        modes = {group.rpartition(" ")[2] for group in result.groups}
        return (
            _matches(result.check.id, [self.rule])
            and result.failures >= self.share * result.applicable
            and self.streaming in (None, modes == {"streaming"} and not _by_chance(result))
            and (not self.refusals or len({one.evidence.got for one in result.examples}) == 1)
            and (not self.beside or any(_matches(each, self.beside) for each in failed))
            and not any(_matches(each, self.without) for each in failed)
        )


def _by_chance(result: RuleResult) -> bool:
    """Return whether a defect of all replies may have hit only streams, because it hit few."""
    streams = sum(n for name, (_, n) in result.counts.items() if name.endswith(" streaming"))
    replies = sum(n for _, n in result.counts.values())
    return bool(replies) and (streams / replies) ** result.failures > _CHANCE and streams < replies


class Layer(Record):
    """A part of the server: the rules that its defects fail, what they break, and the remedy.

    `examples` are known defects by the rule that shows them.
    """

    title: str
    effect: str
    remedy: str
    direct: tuple[Direct, ...]
    explains: tuple[str, ...] = ()
    examples: Mapping[str, Example] = {}


@cache
def layers() -> Mapping[str, Layer]:
    """Return the layers of the table by name."""
    table = resources.files("harness") / "data" / "layers.yaml"
    return TypeAdapter(dict[str, Layer]).validate_python(yaml.safe_load(table.read_text("utf-8")))


def diagnose(
    results: Sequence[RuleResult], components: tuple[ComponentFault, ...] = ()
) -> Diagnosis | None:
    """Return the likely causes of the errors and warnings of a run.

    None if there are none of these, or only warnings without a cause. Only checks that judged
    something are evidence. `components` are those known to be at fault.
    """
    judged = [each for each in results if each.applicable]
    found = [each for each in judged if each.status in ("failed", "warned")]
    errors = {each.check.id for each in found if each.status == "failed"}
    causes = sorted(_causes(judged, found), key=lambda each: errors.isdisjoint(each.explains))
    if not (causes or errors or components):
        return None
    explained = {each for cause in causes for each in cause.explains}
    return Diagnosis(
        causes=tuple(causes),
        unexplained=tuple(e.check.id for e in found if e.check.id not in explained),
        components=components,
    )


def _causes(judged: Sequence[RuleResult], found: Sequence[RuleResult]) -> Iterator[Cause]:
    """Yield the layers that explain most findings, each after those that explain more."""
    shown = {name: _shown(layer, judged, found) for name, layer in layers().items()}
    left = [each.check.id for each in found]
    for _ in range(MOST_CAUSES):
        possible = {
            name: direct | {each for each in left if _matches(each, layers()[name].explains)}
            for name, direct in shown.items()
            if not direct.isdisjoint(left)
        }
        explained = {name: rules.intersection(left) for name, rules in possible.items()}
        scores = {name: len(each) + len(each & shown[name]) for name, each in explained.items()}
        if not scores:
            return
        best = max(scores, key=lambda name: scores[name])
        rivals = [name for name in scores if name != best and scores[name] == scores[best]]
        if any(explained[name] & explained[best] for name in rivals):
            return
        about = layers()[best]
        yield Cause(
            layer=best,
            description=about.title,
            effect=about.effect,
            remedy=about.remedy,
            examples=tuple(about.examples[e] for e in left if e in about.examples),
            explains=tuple(each for each in left if each in explained[best]),
        )
        left = [each for each in left if each not in explained[best]]


def _shown(layer: Layer, judged: Sequence[RuleResult], found: Sequence[RuleResult]) -> set[str]:
    """Return the failed rules that show a layer."""
    failed = [each.check.id for each in found]
    direct = [e for e in found if any(each.shown_by(e, failed) for each in layer.direct)]
    patterns = [each.rule for each in layer.direct]
    probes = [e for e in judged if e.check.kind == "probe" and _matches(e.check.id, patterns)]
    passed = sum(each.status == "passed" for each in probes)
    steady = any(e.check.kind == "check" or 2 * e.failures >= e.applicable for e in direct)
    return {e.check.id for e in direct} if steady or 2 * passed <= len(probes) else set()


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, each) for each in patterns)
