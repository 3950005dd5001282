"""All rules by id. A rule is found in any module of a folder of `harness/rules`.

Other packages add modules by the entry point `gpt_oss_verify.rules` (docs/own-rules.md).
"""

import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, TypeVar

from harness import rules
from harness.api.parsed_rollout import ParsedRollout
from harness.records.conditions import APIS, MODES, Api, Mode
from harness.records.families import FAMILIES
from harness.records.scores import Description, Finding, Score
from harness.rules.account import NO_ACCOUNT, Account
from harness.rules.check import AccountRule, Check, CrossCheck, Family
from harness.rules.probe import Probe, ProbeGroup
from harness.rules.rule import Rule, finding_of

T = TypeVar("T")
R = TypeVar("R", bound=Rule)


def _modules() -> Iterator[ModuleType]:
    """Import and yield all modules of all families, the families in the order of reports."""
    for family in FAMILIES:
        package = import_module(f"{rules.__name__}.{family}")
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            yield import_module(module.name)


def _registered(shipped: Iterable[ModuleType]) -> Iterator[ModuleType]:
    """Import and yield the modules of other packages; note in `LEFT_OUT` why one is left out."""
    taken = {about.id.partition(".")[0] for about in _described(shipped)} | {*FAMILIES}
    for entry in entry_points(group="gpt_oss_verify.rules"):
        try:
            module = _own_module(entry, taken | OWN_FAMILIES)
        except Exception as error:  # noqa: BLE001 (a broken package must not cost the others)
            why = f"{type(error).__name__}: {error}"
            LEFT_OUT.append(f"The rules of the package {entry.value} are left out ({why}).")
        else:
            OWN_FAMILIES.add(entry.name)
            yield module


def _own_module(entry: EntryPoint, taken: Collection[str]) -> ModuleType:
    """Import a module of another package. Raises ValueError if its rules have another prefix."""
    if entry.name in taken:
        raise ValueError(f"the name {entry.name} is taken")
    module: ModuleType = entry.load()
    ids = set[str]()
    for about in _described([module]):
        if about.family != entry.name or not about.id.startswith(f"{entry.name}."):
            raise ValueError(f"{about.id} does not belong to the family {entry.name}")
        if about.id in ids:
            raise ValueError(f"two rules have the id {about.id}")
        ids.add(about.id)
    return module


def _described(modules: Iterable[ModuleType]) -> Iterator[Description]:
    modules = list(modules)
    yield from (check.about for each in _members(Family, modules) for check in each.checks)
    yield from (probe.about for each in _members(ProbeGroup, modules) for probe in each.probes)


def _members(kind: type[T], modules: Iterable[ModuleType]) -> Iterator[T]:
    """Yield the objects of one kind that the modules define, each once."""
    members = {id(member): member for module in modules for member in vars(module).values()}
    return (member for member in members.values() if isinstance(member, kind))


def _by_id(members: Iterable[R]) -> Mapping[str, R]:
    """Return rules by id; raise ValueError if two have the same."""
    every = list(members)
    by_id = {rule.id: rule for rule in every}
    if len(by_id) < len(every):
        ids = [rule.id for rule in every]
        raise ValueError(f"two rules have the id {next(i for i in ids if ids.count(i) > 1)}")
    return by_id


LEFT_OUT: list[str] = []
"""Why the rules of packages are left out, a sentence for each."""
OWN_FAMILIES: set[str] = set()
"""The families of the rules of other packages."""
_SHIPPED = tuple(_modules())
_MODULES = (*_SHIPPED, *_registered(_SHIPPED))
GROUPS: tuple[ProbeGroup, ...] = tuple(_members(ProbeGroup, _MODULES))
PROBES: Mapping[str, Probe] = _by_id(probe for group in GROUPS for probe in group.probes)
CHECKS: Mapping[str, Check | CrossCheck | AccountRule] = _by_id(
    check for family in _members(Family, _MODULES) for check in family.checks
)
SINGLE_CHECKS: Mapping[str, Check] = {
    check_id: check for check_id, check in CHECKS.items() if isinstance(check, Check)
}
CROSS_CHECKS: Sequence[CrossCheck | AccountRule] = [
    check for check in CHECKS.values() if not isinstance(check, Check)
]
RULES: Mapping[str, Rule] = _by_id([*CHECKS.values(), *PROBES.values()])
_BY_SCOPE: Mapping[tuple[Api, Mode], Sequence[Check]] = {
    (api, mode): [
        check
        for check in SINGLE_CHECKS.values()
        if api in check.about.apis and mode in check.about.modes
    ]
    for api in APIS
    for mode in MODES
}


def examine(
    parsed: ParsedRollout,
    *,
    except_for: Collection[str] = (),
    broken: dict[str, str] | None = None,
) -> tuple[frozenset[str], tuple[Finding, ...]]:
    """Return the ids of the applicable checks, except those in `except_for`, and their findings.

    The traceback of a check that raises is added to `broken` by its id; without `broken`, it
    raises.
    """
    applicable: set[str] = set()
    findings: list[Finding] = []
    selections: dict[Callable[[ParsedRollout], object], list[Any]] = {}
    for check in _BY_SCOPE[parsed.rollout.api, parsed.mode]:
        rule, over, where = check.about.id, check.over, check.where
        if rule in except_for:
            continue
        try:
            parts = selections.get(over)
            if parts is None:  # Many checks judge the same parts.
                parts = selections[over] = list(over(parsed))
            for part in parts:
                if where is None or where(part):
                    applicable.add(rule)
                    findings += [
                        finding_of(check.about, parsed.rollout.id, problem)
                        for problem in check.judge(part)
                    ]
        except Exception:
            if broken is None:
                raise
            broken[rule] = traceback.format_exc()
    return frozenset(applicable), tuple(findings)


def compare_rollouts(
    examined: Sequence[Score],
    broken: dict[str, str] | None = None,
    account: Account = NO_ACCOUNT,
) -> Iterator[tuple[frozenset[str], list[Finding]]]:
    """For each rollout, the ids of the applicable cross-checks and account rules, and findings.

    `broken` is as for `examine`.
    """
    judged: list[tuple[str, Sequence[tuple[object, Finding | None]]]] = []
    for check in CROSS_CHECKS:
        try:
            judged.append((check.id, check.results(examined, account)))
        except Exception:
            if broken is None:
                raise
            broken[check.id] = traceback.format_exc()
    for at in range(len(examined)):
        own = [(check_id, *results[at]) for check_id, results in judged]
        applicable = frozenset(check_id for check_id, applies, _ in own if applies)
        yield applicable, [finding for _, _, finding in own if finding is not None]
