"""Which functions, constants and rules decide a verdict or a first cause.

    python tools/ablation.py [--what functions] [--modules harness.rules.limits ...]

The recorded healthy run (`tests/support/corpus.py`) is changed by each fault that needs no model:
of replies as they were recorded, others as the reference engine's server writes the same tokens
again. The mixtures of habits (`harness/selftest/habits.py`) are cases, too: they stay healthy.
`--kept` is the folder of the changed replies.
A function is switched off by an empty result, a constant is doubled or halved, a rule is removed.
First everything is off at once; while a verdict or a first cause differs, the switch that makes it
differ is found by halving, and stays on. Prints what remains off, a table by module, and the rules
that are the only error of a case. `--only` judges some switches alone, such as those that a run of
other faults found free; `--hold-out N` leaves out each third fault, which `--held-out N` takes.
"""

import argparse
import asyncio
import functools
import importlib
import inspect
import pkgutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, get_args, get_origin

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

import corpus  # noqa: E402
from pydantic import TypeAdapter  # noqa: E402

from harness.records.rollouts import Rollout  # noqa: E402
from harness.rules.catalogue import RULES  # noqa: E402
from harness.selftest.habits import MIXTURES, ModelHabit  # noqa: E402
from harness.selftest.styles import HealthyReplies, Style, styled  # noqa: E402
from harness.tasks.attempt_order import planned_attempts  # noqa: E402
from reference_engine.faults.catalogue import CATALOGUE  # noqa: E402
from reference_engine.faults.server import faulty_parts  # noqa: E402
from reference_engine.prescribed import PrescribedServer  # noqa: E402

PACKAGES = ("harness.rules", "harness.verdict")
_FACTORS = {"doubled": 2, "halved": 0.5}  # of constants
_KINDS = ("functions", *_FACTORS, "rules")
_EMPTY = {bool: "False", int: "0", float: "0.0", str: '""', None: "None", type(None): "None"}
_AS_WRITTEN = Style({ModelHabit("none", lambda written, _: written.completion): 1.0})
"""Each reply is served again, with the tokens that the model wrote."""
_CHANGED = TypeAdapter(dict[str, Rollout])
_TRACED: dict[int, Callable[..., Any]] = {}
Outcome = tuple[str, tuple[str, ...]]  # the verdict, and the first cause if any


@dataclass(frozen=True)
class Switch:
    """Something that can be off: a function, a constant with another value, or a rule."""

    name: str
    module: str
    lines: int
    off: Callable[[], Callable[[], None]] = field(compare=False)  # returns how to undo it


@dataclass
class Case:
    """The run with one fault; `live` are the functions that had a result in it."""

    name: str
    rollouts: Sequence[Rollout]
    outcome: Outcome = ("", ())
    errors: frozenset[str] = frozenset()
    live: set[str] = field(default_factory=set)


class Rig:
    """Judges cases with switches off."""

    def __init__(self, run: corpus.Recorded) -> None:
        self.run = run

    def outcome(self, case: Case, off: Iterable[Switch] = ()) -> Outcome:
        """Return what a case is said to be with these switches off."""
        with _off(off):
            judged = self.run.judged(case.rollouts)
        return judged.verdict, judged.causes[:1]

    def needed(self, case: Case, off: Sequence[Switch]) -> list[Switch]:
        """Return switches without which the outcome of a case would differ, one by one."""
        needed, rest = list[Switch](), list(off)
        low = 0  # the outcome is right with rest[:low] off, and wrong with rest[:high]
        while rest and self._differs(case, rest):
            high = len(rest)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if self._differs(case, rest[:middle]) else (middle, high)
            needed.append(rest.pop(low))
        return needed

    def _differs(self, case: Case, off: Sequence[Switch]) -> bool:
        try:
            return self.outcome(case, off) != case.outcome
        except Exception:  # noqa: BLE001 (what cannot be off is needed)
            return True


@contextmanager
def _off(switches: Iterable[Switch]) -> Iterator[None]:
    undo = [switch.off() for switch in switches]
    for cached in _caches():
        cached.cache_clear()
    try:
        yield
    finally:
        for on in reversed(undo):
            on()


@functools.cache
def _modules() -> tuple[ModuleType, ...]:
    """Return all modules of the packages."""
    packages = map(importlib.import_module, PACKAGES)
    names = (
        each.name
        for package in packages
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    )
    return tuple(map(importlib.import_module, names))


@functools.cache
def _caches() -> tuple[Any, ...]:
    return tuple(
        value
        for module in _modules()
        for value in vars(module).values()
        if hasattr(value, "cache_clear") and getattr(value, "__module__", "") == module.__name__
    )


def functions() -> Iterator[tuple[Switch, FunctionType, str]]:
    """Yield the functions that can return nothing: switch, function, and the empty result."""
    for module in _modules():
        places = [vars(module), *(vars(c) for c in vars(module).values() if inspect.isclass(c))]
        for value in [value for place in places for value in place.values()]:
            function = inspect.unwrap(getattr(value, "fget", value) or value) if value else None
            if not isinstance(function, FunctionType) or function.__module__ != module.__name__:
                continue
            empty = _empty(function.__annotations__.get("return", ...))
            if empty is None or function.__code__.co_freevars or function.__name__ == "__init__":
                continue
            code = _code(f"return {empty}", function)
            name = f"{module.__name__}.{function.__qualname__}"
            size = len(inspect.getsourcelines(function)[0])
            yield (
                Switch(name, module.__name__, size, functools.partial(_recode, function, code)),
                function,
                empty,
            )


def _empty(annotation: object) -> str | None:
    """Return the expression of an empty result of this type; None if there is none."""
    if type(None) in get_args(annotation):
        return "None"
    kind = get_origin(annotation) or annotation
    if kind in _EMPTY:
        return _EMPTY[kind]
    if not inspect.isclass(kind):
        return None
    if kind is tuple and get_args(annotation)[-1:] != (...,):
        return None
    if issubclass(kind, (dict, list, set, frozenset, tuple)) and not hasattr(kind, "_fields"):
        return f"{kind.__name__}()" if kind.__module__ == "builtins" else None
    names = {"Iterator": "iter(())", "Mapping": "{}", "Set": "frozenset()"}
    return {**names, "Iterable": "()", "Sequence": "()", "Collection": "()"}.get(kind.__name__)


def _code(body: str, function: FunctionType) -> CodeType:
    scope: dict[str, Any] = {}
    exec(f"def replaced(*args, **kwargs):\n    {body}", scope)
    code: CodeType = scope["replaced"].__code__.replace(co_filename=function.__code__.co_filename)
    return code


def _recode(function: FunctionType, code: CodeType) -> Callable[[], None]:
    before, function.__code__ = function.__code__, code
    return lambda: setattr(function, "__code__", before)


def traced(live: set[str]) -> Iterator[Switch]:
    """Yield switches that note in `live` which functions return something."""
    for number, (switch, function, empty) in enumerate(functions()):
        own = function.__globals__, function.__name__, function.__defaults__
        copy = FunctionType(function.__code__, *own)
        copy.__kwdefaults__ = function.__kwdefaults__
        _TRACED[number] = functools.partial(_call, copy, switch.name, empty, live)
        code = _code(f"return __traced__[{number}](*args, **kwargs)", function)
        function.__globals__["__traced__"] = _TRACED
        yield Switch(switch.name, "", 0, functools.partial(_recode, function, code))


def _call(
    function: FunctionType, name: str, empty: str, live: set[str], *args: object, **kwargs: object
) -> object:
    result = function(*args, **kwargs)
    if empty == "iter(())" or inspect.isgenerator(result):
        return _noting(result, name, live)
    if result is not None if empty == "None" else result:
        live.add(name)
    return result


def _noting(results: Iterable[Any], name: str, live: set[str]) -> Iterator[Any]:
    for result in results:
        live.add(name)
        yield result


def constants(factor: float) -> Iterator[Switch]:
    """Yield each number of a module, multiplied by a factor."""
    for module in _modules():
        source = inspect.getsource(module)
        for name, value in list(vars(module).items()):
            own = f"\n{name} = " in source or f"\n{name}: " in source
            if name.isupper() and own and type(value) in (int, float):
                off = functools.partial(_set, name, value, type(value)(value * factor))
                yield Switch(f"{module.__name__}.{name} x {factor:g}", module.__name__, 1, off)


def _set(name: str, value: float, changed: float) -> Callable[[], None]:
    places = [one for one in _modules() if vars(one).get(name) is value]

    def put(number: float) -> None:
        for place in places:
            setattr(place, name, number)

    put(changed)
    return functools.partial(put, value)


def cases(folder: Path) -> Iterator[Case]:
    """Yield the run with each visible fault that is no allowed variation, from `folder` if there.

    A fault of the model or of sampling shows only what its requests and replies show. Then the
    mixtures of habits.
    """
    run = corpus.healthy()
    of_replies = {fault.name for fault in corpus.faults_of_replies()}
    faults = [fault for fault in CATALOGUE.values() if fault.visible and not fault.allowed]
    made: dict[str, Callable[[], Sequence[Rollout]]] = {}
    for fault in faults:
        if fault.name in of_replies:
            made[fault.name] = functools.partial(corpus.damaged, run.rollouts, fault.name)
        elif not fault.of_engine:
            server = functools.partial(PrescribedServer, create=faulty_parts((fault.name,)).app)
            made[fault.name] = functools.partial(served, run, _AS_WRITTEN, server)
    for name, habits in MIXTURES.items():
        made[f"mixture {name}"] = functools.partial(served, run, Style(habits), PrescribedServer)
    for name, make in made.items():
        yield Case(name, kept(folder, name, make, run))


def kept(
    folder: Path, name: str, make: Callable[[], Sequence[Rollout]], run: corpus.Recorded
) -> Sequence[Rollout]:
    """Return the rollouts of a case; those that its `make` changed are kept in a file."""
    file = folder / f"{name}.json"
    if not file.exists():
        pairs = zip(make(), run.rollouts, strict=True)
        written = {new.id: new for new, old in pairs if new is not old}
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_CHANGED.dump_json(written))
    changed = _CHANGED.validate_json(file.read_bytes())
    return [changed.get(one.id, one) for one in run.rollouts]


def served(
    run: corpus.Recorded, style: Style, server: Callable[[], PrescribedServer]
) -> Sequence[Rollout]:
    """Return the run with its replies written in a style, and made by a server."""
    return asyncio.run(styled(_healthy_replies(), run.rollouts, style, server()))


@functools.cache
def _healthy_replies() -> HealthyReplies:
    run = corpus.healthy()
    attempts = {attempt.id: attempt for attempt in planned_attempts(run.tasks)}
    return HealthyReplies(attempts, run.rollouts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kept", type=Path, default=ROOT / "build/ablation")
    parser.add_argument("--what", choices=_KINDS, default="functions")
    parser.add_argument("--modules", nargs="+", default=list(PACKAGES))
    parser.add_argument("--only", type=Path, help="file with the names of switches, one a line")
    parser.add_argument("--hold-out", type=int)
    parser.add_argument("--held-out", type=int)
    given = parser.parse_args()
    rig = Rig(corpus.healthy())
    chosen = [
        case
        for at, case in enumerate(cases(given.kept))
        if at % 3 != given.hold_out and given.held_out in (None, at % 3)
    ]
    always: set[str] = set()
    if given.what == "functions":
        with _off(traced(always)):
            corpus.Recorded(rig.run.folder, rig.run.info, rig.run.tasks, rig.run.rollouts).judged()
    switches = [
        switch
        for switch in _switches(given.what)
        if any(map(switch.name.startswith, given.modules)) and switch.name not in always
    ]
    if given.only:
        names = set(given.only.read_text("utf-8").split("\n"))
        switches = [switch for switch in switches if switch.name in names]
    _report(switches, *_search(rig, chosen, switches, trace=given.what == "functions"))
    _sole(chosen)


def _switches(what: str) -> Iterator[Switch]:
    if what == "functions":
        yield from (switch for switch, _, _ in functions())
    elif what in _FACTORS:
        yield from constants(_FACTORS[what])
    else:
        for rule in RULES.values():
            judge = getattr(rule, "judge", None) or getattr(rule, "compare", None)
            if isinstance(judge, FunctionType) and not judge.__code__.co_freevars:
                off = functools.partial(_recode, judge, _code("return ()", judge))
                yield Switch(rule.id, judge.__module__, 0, off)


def _search(
    rig: Rig, chosen: Sequence[Case], switches: Sequence[Switch], *, trace: bool
) -> tuple[dict[str, str], set[str]]:
    """Return the case that needs each needed switch, and the functions that are ever live."""
    needed: dict[str, str] = {}
    live: set[str] = set()
    for case in chosen:
        with _off(traced(case.live) if trace else ()):
            judged = rig.run.judged(case.rollouts)
        case.outcome, case.errors = (judged.verdict, judged.causes[:1]), judged.rules("error")
        live |= case.live if trace else {switch.name for switch in switches}
        shown = case.live if trace else live
        off = [one for one in switches if one.name in shown and one.name not in needed]
        for switch in rig.needed(case, off):
            needed[switch.name] = case.name
        names = " ".join(name for name, by in needed.items() if by == case.name)
        print(f"{case.name}: {case.outcome}, {len(off)} off; needs {names}", file=sys.stderr)
    return needed, live


def _report(switches: Sequence[Switch], needed: dict[str, str], live: set[str]) -> None:
    lines: dict[str, Counter[str]] = defaultdict(Counter)
    for switch in switches:
        kind = "needed" if switch.name in needed else "free" if switch.name in live else "not live"
        lines[switch.module][kind] += switch.lines or 1
        print(f"{kind:9} {switch.lines:4} {switch.name} {needed.get(switch.name, '')}")
    print(f"\n{'module':45}{'needed':>8}{'free':>8}{'not live':>10}")
    for module, sizes in sorted(lines.items()):
        print(f"{module:45}{sizes['needed']:8}{sizes['free']:8}{sizes['not live']:10}")


def _sole(chosen: Sequence[Case]) -> None:
    """Print the rules that are the only error of a case."""
    alone = defaultdict(list)
    for case in chosen:
        for rule in case.errors if len(case.errors) == 1 else ():
            alone[rule].append(case.name)
    for rule, names in sorted(alone.items()):
        print(f"only {rule}: {', '.join(names)}")


if __name__ == "__main__":
    main()
