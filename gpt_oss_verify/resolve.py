"""From options to what they select: one function resolves them for all commands.

The order is: the gate of the providers' file, that of the entry, that of `--gate`, and the options.
A later one overrides an earlier one, and what an earlier run recorded comes before all of them.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

from evals.baselines.choice import choose_baseline
from evals.datasets import HUB_PREFIX, Loaded
from evals.grading.graded_eval import GradedEval
from evals.grading.requests import DEFAULT_GRADER
from evals.own import own_name
from evals.registry import EVALS, NAMES, QUICK_TRIES, load_data, make_eval
from gpt_oss_verify.options import GateOptions, Options, ProviderOptions, parse_apis, parse_list
from gpt_oss_verify.screen import say
from harness.errors import ConfigurationError
from harness.providers import entries as providers
from harness.providers.entries import Provider
from harness.providers.gate_entry import load_gate_file
from harness.records.conditions import BOTH_APIS, Api
from harness.records.runs import ProviderInfo, RunInfo, ScoreGate
from harness.records.settings import Layer, Limits, Thresholds, layered, names
from harness.run.budget import Budget
from harness.text import suggestion
from harness.verdict import requirements
from harness.verdict.reference_rate import default_thresholds, target_of, with_reference

DEFAULT_EVALS = ",".join(QUICK_TRIES)
_SLOW = 3.0  # seconds after which a download is mentioned


class ModelMissingError(ConfigurationError):
    """An address without a model; `provider` is the entry that would be asked."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(f"Give --model; {provider.base_url} may serve several.")
        self.provider = provider


@dataclass(frozen=True)
class Chosen:
    """What options select.

    `provider` is the one that is asked: that of the run or, to grade its answers alone, the grader.
    `layers` are the gate, in the order in which they override each other. `models`, `apis`, `evals`
    and `own`, the user's own questions, are those of a new run.
    """

    provider: Provider
    grader: Provider | None
    layers: Sequence[Layer]
    thresholds: Thresholds
    score_gate: ScoreGate
    budget: Budget
    models: tuple[str, ...] = ()
    apis: tuple[Api, ...] = ()
    evals: tuple[str, ...] = ()
    own: Mapping[str, Loaded[Any]] = field(default_factory=dict)


def resolve(options: Options, run: RunInfo | None = None) -> Chosen:
    """Return what the options select, for a new run or an earlier one.

    Nothing is written, and the provider is not asked.

    Raises ConfigurationError if they are invalid, and RunLogError if the reference is a run that
    cannot be read.
    """
    if run is not None:
        return _of_run(options, run)
    provider = _named_provider(options.provider, options.concurrency)
    models: tuple[str, ...] = (provider.model,)
    if options.evals_alone:
        models = parse_list("--model", provider.model)
        provider = provider.model_copy(update={"model": models[0]})
    layers = _layers(options, provider)
    score_gate = _score_gate(layers)
    evals = _evals(options, score_gate)
    apis = parse_apis(options.provider.apis) or provider.apis
    if options.evals_alone and len(apis) > 1:
        if options.provider.apis is not None:
            raise ConfigurationError("Evals use one API; choose --api responses or --api chat.")
        apis = apis[:1]
    own = {name: load_questions(name, options) for name in evals if own_name(name) is not None}
    graded = (
        isinstance(make_eval(own[name], 0), GradedEval) if name in own else EVALS[name].needs_grader
        for name in evals
    )
    grader = None
    if any(graded):
        grader = provider
        if options.decision.grader_name is not None or not options.data.samples:
            grader = _named_grader(options)
    budget = _budget(layers, provider, grader)
    _check(options, budget)
    return Chosen(
        provider=provider,
        grader=grader,
        layers=layers,
        thresholds=_thresholds(
            layers, default_thresholds(provider.model, strict=options.cases.strict)
        ),
        score_gate=score_gate,
        budget=budget,
        models=models,
        apis=apis,
        evals=evals,
        own=own,
    )


def _of_run(options: Options, run: RunInfo) -> Chosen:
    file, before = options.provider.providers_file, run.settings.grader
    grader = None
    if not options.grading:
        provider = _same_provider(run.provider, options.provider, options.concurrency)
        if before is not None:
            own = (before.name, before.base_url) == (run.provider.name, run.provider.base_url)
            same = provider.model_copy(update={"model": before.model})
            grader = same if own else _same_grader(before, file)
    elif options.decision.grader_name is not None:
        provider = providers.find_provider(options.decision.grader_name, file)
    elif before is not None:
        provider = _same_grader(before, file)
    else:
        raise ConfigurationError("The run has no grader; name one with --grader.")
    layers = _layers(options, None if options.grading else provider)
    thresholds, _ = gate_of_run(options.gate, run)
    budget = _budget(layers, provider, grader)
    return Chosen(provider, grader, layers, thresholds, _score_gate(layers), budget)


def gate_of_run(options: GateOptions, run: RunInfo) -> tuple[Thresholds, dict[str, object]]:
    """Return the thresholds for a finished run, and the settings of evals that --gate FILE changes.

    The thresholds are its own or those of the file, with the options. Raises ConfigurationError or
    RunLogError.
    """
    if options.gate is None:
        return _thresholds([Layer(options.stated)], run.settings.thresholds), {}
    layers = [load_gate_file(options.gate), Layer(options.stated)]
    base = default_thresholds(run.provider.model, strict=run.settings.strict)
    return _thresholds(layers, base), {"margin": None, **recorded(_score_gate(layers))}


def recorded(gate: ScoreGate) -> dict[str, Any]:
    """Return the requirements of scores as settings of a run, with the names of its tasks."""
    sources = {f"margins.{name}": f"margins.{own_name(name) or name}" for name in gate.margins}
    return {
        "margins": {own_name(name) or name: margin for name, margin in gate.margins.items()},
        "required_evals": tuple(own_name(name) or name for name in gate.required_evals),
        "origins": {sources.get(name, name): where for name, where in gate.origins.items()},
    }


def load_questions(name: str, options: Options) -> Loaded[Any]:
    """Return the rows of an eval; in the main job, sample data if the hub cannot be reached."""
    evals = (options.evals or DEFAULT_EVALS).split(",")
    place = options.data.place(evals) if options.evals_alone else "hub"
    waiting = Timer(_SLOW, say, (f"loading {name} from huggingface.co …",))
    try:
        if name.startswith(HUB_PREFIX) or (place == "hub" and name in NAMES):
            waiting.start()
        return load_data(name, place)
    except ConfigurationError as error:
        if place != "hub" or name not in NAMES:
            raise
        if options.evals_alone:
            raise ConfigurationError(
                f"{error} The sample questions, with --samples, need no internet."
            ) from None
        say(f"Using sample questions instead of {name}: {error}")
        return load_data(name, "samples")
    finally:
        waiting.cancel()


def _named_provider(options: ProviderOptions, concurrency: int | None) -> Provider:
    """Return the entry that the options name, with their overrides. Raises ConfigurationError."""
    apis = parse_apis(options.apis) or BOTH_APIS
    if options.provider is not None:
        entry = providers.find_provider(options.provider, options.providers_file)
    elif options.base_url is not None and options.model is not None:
        entry = providers.adhoc_provider(options.base_url, options.model, apis)
    elif options.base_url is not None:
        entry = providers.adhoc_provider(options.base_url, "any", apis, options.api_key_env)
        raise ModelMissingError(entry)
    else:
        raise ConfigurationError(
            "Select a provider with --provider (`gpt-oss-verify providers` lists them), "
            "or pass --base-url and --model."
        )
    return _overridden(
        entry,
        base_url=options.base_url,
        model=options.model,
        api_key_env=options.api_key_env,
        timeout=options.timeout,
        concurrency=concurrency,
    )


def _same_provider(
    info: ProviderInfo, options: ProviderOptions, concurrency: int | None
) -> Provider:
    """Return the provider of an earlier run, from its current entry or from the record of the run.

    Raises ConfigurationError if the options select a different one, or the record is incomplete.
    """
    overrides = {"timeout": options.timeout, "concurrency": concurrency}
    nowhere = "://" not in info.base_url  # recorded traffic without an address
    if (options.provider, options.base_url, options.model) == (None, None, None):
        entry = providers.load_providers(options.providers_file).get(info.name)
        if entry is not None and entry.base_url == providers.base_of(info.base_url):
            return _overridden(entry, model=info.model, **overrides)
        if "{port}" in info.base_url:
            raise ConfigurationError(
                f"The run launched {info.name}, but its entry is missing or has changed: "
                "pass the file that has the entry with --providers."
            )
        if nowhere:
            raise ConfigurationError(
                f"The recordings of {info.name} do not have the address of the server; name it "
                "with --base-url URL --model NAME, or with --provider."
            )
        provider = providers.adhoc_provider(
            providers.base_of(info.base_url), info.model, BOTH_APIS, options.api_key_env
        )
        return _overridden(provider, name=info.name, extra_body=info.extra_body, **overrides)
    provider = _named_provider(options, concurrency)
    if not nowhere and (provider.base_url, provider.model) != (
        providers.base_of(info.base_url),
        info.model,
    ):
        raise ConfigurationError(
            f"The run used {info.model} at {info.base_url}, not {provider.model} at "
            f"{provider.base_url}; start a new run instead."
        )
    return provider


def server_options(info: ProviderInfo) -> str:
    """Return the options that name the server in a command; "" if the run has its address."""
    if "://" in info.base_url:
        return ""
    if info.name in providers.load_providers():
        return f" --provider {shlex.quote(info.name)}"
    return " --base-url URL --model NAME"


def _named_grader(options: Options) -> Provider:
    """Return the grader of HealthBench, after checking its key, before anything is paid for.

    If nothing will be sent, the key is not needed. Raises ConfigurationError.
    """
    name = options.decision.grader_name or DEFAULT_GRADER
    grader = providers.find_provider(name, options.provider.providers_file)
    if options.dry_run:
        return grader
    try:
        providers.access(grader)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"HealthBench needs a grader; {error}; or name a different entry with --grader."
        ) from None
    return grader


def _same_grader(before: ProviderInfo, providers_file: Path | None) -> Provider:
    """Return the grader of an earlier run. Raises ConfigurationError."""
    if before.name == DEFAULT_GRADER:
        return providers.find_provider(before.name, providers_file)
    return _same_provider(before, ProviderOptions(providers_file=providers_file), None)


def _overridden(provider: Provider, **overrides: object) -> Provider:
    """Return `provider` with the overrides that are not None; a new address is not launched."""
    given = {name: value for name, value in overrides.items() if value is not None}
    if "base_url" in given:
        given["launch"] = None
    return providers.changed(provider, **given) if given else provider


def _thresholds(layers: Sequence[Layer], base: Thresholds) -> Thresholds:
    """Return `base` with the thresholds that a gate sets. Raises ConfigurationError.

    Unchanged ones of an earlier run may name rules that only its version has.
    """
    thresholds = layered(base, layers)
    if thresholds == base:
        return base
    if thresholds.reference != base.reference and thresholds.reference is not None:
        origin = thresholds.origins["reference"]
        thresholds = with_reference(thresholds, thresholds.reference, origin)
    requirements.check_names(thresholds)
    target_of(thresholds)
    return thresholds


def _score_gate(layers: Iterable[Layer]) -> ScoreGate:
    """Return what the gate requires of scores. Raises ConfigurationError for unknown evals."""
    gate = layered(ScoreGate(), layers)
    named = dict.fromkeys(gate.required_evals, gate.origins.get("required_evals", ""))
    named |= {name: gate.origins[f"margins.{name}"] for name in gate.margins}
    for name, where in named.items():
        if name not in NAMES and own_name(name) is None:
            raise ConfigurationError(
                f"{where}: there is no eval {name!r}; {suggestion(name, NAMES)} Your own questions "
                "are named by their file, such as questions.jsonl."
            )
    return gate


def _layers(options: Options, provider: Provider | None) -> list[Layer]:
    """Return the gate and the budget: those of a provider's file and entry, then those given."""
    layers: list[Layer] = []
    if provider is not None:
        layers += providers.gate_layers(provider, options.provider.providers_file)
    if options.gate.gate is not None:
        layers.append(load_gate_file(options.gate.gate))
    return [*layers, Layer(options.gate.stated), Layer(options.budget.stated)]


def _budget(layers: Iterable[Layer], *paid: Provider | None) -> Budget:
    """Return the budget of a gate. Raises ConfigurationError if a provider lacks prices for it."""
    budget = Budget(layered(Limits(), layers))
    for provider in filter(None, paid):
        budget.check(provider)
    return budget


def _check(options: Options, budget: Budget) -> None:
    """Refuse conflicting options before anything is loaded. Raises ConfigurationError."""
    decision = options.decision
    if not decision.until_decided and (decision.budget_samples or decision.budget_tokens):
        raise ConfigurationError(
            "--budget-samples and --budget-tokens need --until-decided; add it."
        )
    choose_baseline(options.baseline.baseline)
    effort = options.sampling.reasoning_effort
    if effort is not None and not effort.isprintable():
        raise ConfigurationError(f"--reasoning-effort takes a name such as low, not {effort!r}.")
    if options.executor is not None and (
        decision.until_decided or options.data.with_tools or budget.recorded_limits
    ):
        raise ConfigurationError(
            "--executor samples on other machines, where budgets and sandboxes are not enforced; "
            "leave out --until-decided, --with-tools and budgets."
        )


def _evals(options: Options, gate: ScoreGate) -> tuple[str, ...]:
    """Return the evals to run: the requested ones, or those that the gate requires."""
    if options.evals_alone:
        requested = options.evals or ",".join(gate.required_evals) or DEFAULT_EVALS
        parse_list("--eval", requested)
        return _distinct("--eval", tuple(map(_known_eval, names(requested))))
    if options.evals == "quick":
        return tuple(QUICK_TRIES)
    if options.evals is not None:
        parse_list("--evals", options.evals, NAMES)
        return _distinct("--evals", names(options.evals))
    for name in gate.required_evals:
        if name not in QUICK_TRIES:
            raise ConfigurationError(
                f"{gate.origins['required_evals']}: the eval {name} is not part of --evals quick "
                f"({', '.join(QUICK_TRIES)}); run it with `gpt-oss-verify eval` and its own gate."
            )
    return tuple(QUICK_TRIES) if gate.required_evals else ()


def _distinct(option: str, evals: Sequence[str]) -> tuple[str, ...]:
    """Return the evals. Raises ConfigurationError if two have one name, as files and in tables."""
    by_name: dict[str, str] = {}
    for spec in evals:
        name = (own_name(spec) or spec).casefold()
        if name in by_name:
            raise ConfigurationError(
                f"{option}: {by_name[name]} and {spec} both have the name {name}, by which results "
                "are kept; rename a file, or leave one out."
            )
        by_name[name] = spec
    return tuple(evals)


def _known_eval(spec: str) -> str:
    """Return the name of an eval, or the place of the user's own questions."""
    name = own_name(spec)
    if name is None and spec not in NAMES:
        raise ConfigurationError(
            f"--eval takes {', '.join(NAMES)}, a FILE with your own questions, or hf:NAME, not "
            f"{spec!r}; other evals run in inspect_ai or lm_eval, whose logs `compare` takes "
            "(docs/evals.md)."
        )
    if name is None:
        return spec
    if name in NAMES:
        raise ConfigurationError(f"{spec} has the name of the eval {name}; rename the file.")
    return spec
