"""Options of `eval`, and how their texts become values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from harness.cli.options import at_least
from harness.errors import ConfigurationError

EFFORTS = ("low", "medium", "high")
DEFAULT_EVALS = "aime25,gpqa"
DEFAULT_EFFORTS = "medium"
DEFAULT_MAX_TOKENS = 131_072


@Parameter(name="*", group=Group("What to ask", sort_key=2))
@dataclass(frozen=True)
class EvalOptions:
    """What to ask, and how often."""

    evals: Annotated[str | None, Parameter(name="--eval")] = None
    """aime25, gpqa, healthbench[_hard|_consensus], basic, with commas. Default: aime25,gpqa."""
    reasoning_effort: str | None = None
    """low, medium, high, with commas. Default: medium."""
    tries: Annotated[int | None, Parameter(alias="-k")] = None
    """Tries at each question. Default: 16 for aime25, 8 for gpqa, 1 for the others."""
    examples: int | None = None
    """Only so many questions of each eval, chosen by the seed."""
    streaming: Annotated[bool | None, Parameter(alias="-s", negative="--no-streaming")] = None
    """Ask for streamed replies. Default: whole ones."""
    temperature: float | None = None
    """Default: 1."""
    top_p: float | None = None
    """Default: 1."""
    max_tokens: int | None = None
    """Limit of each reply, CoT included. Default: 131,072."""
    seed: int | None = None
    """Chooses questions and orders choices (default: 0), and goes with Chat requests if given."""


@Parameter(name="*", group=Group("Where the questions are", sort_key=3))
@dataclass(frozen=True)
class DataOptions:
    """Where the questions are; by default at their pinned revision on the Hugging Face hub."""

    samples: bool | None = None
    """The sample questions that come with the tool; needs no internet."""
    data_file: Path | None = None
    """A local copy, JSONL or CSV, of the one eval that is asked."""
    data_dir: Path | None = None
    """A folder with local copies under their published names."""

    def place(self, evals: Sequence[str]) -> str | Path:
        """Where to read. Raises ConfigurationError if that is not clear."""
        given = [value for value in (self.samples, self.data_file, self.data_dir) if value]
        if len(given) > 1:
            raise ConfigurationError("Give one of --samples, --data-file and --data-dir.")
        if self.data_file is not None and len(evals) > 1:
            raise ConfigurationError("--data-file is for one eval; use --data-dir for several.")
        if self.samples:
            return "samples"
        return self.data_file or self.data_dir or "hub"


@Parameter(name="*", group=Group("What to hold it to", sort_key=3))
@dataclass(frozen=True)
class VerdictOptions:
    """What to hold the scores to, and when to stop."""

    grader: str | None = None
    """Entry that grades HealthBench. Default: openai-grader; for samples the provider itself."""
    baseline: str | None = None
    """range (of the reproductions; the default), card, another source, or a measured FILE."""
    gate: Path | None = None
    """File that says margins by eval, evals that must be asked, and a budget."""
    margin: float | None = None
    """Tolerated drop in points. Default: 5 for aime25, 4 for gpqa, 3 or 4 for HealthBench."""
    until_decided: bool | None = None
    """Sample in rounds, and stop as soon as every verdict is settled."""
    budget_samples: int | None = None
    """With --until-decided: begin no round that would go beyond so many tries."""
    budget_tokens: int | None = None
    """With --until-decided: begin no round once so many output tokens are used."""

    def check(self) -> None:
        """Refuse what makes no sense. Raises ConfigurationError."""
        at_least(
            1, {"--budget-samples": self.budget_samples, "--budget-tokens": self.budget_tokens}
        )
        check_margin(self.margin)
        budget = self.budget_samples or self.budget_tokens
        if budget is not None and not self.until_decided:
            raise ConfigurationError("A budget is for --until-decided; give both.")


@Parameter(name="*", group=Group("For an eval run", sort_key=5))
@dataclass(frozen=True)
class EvalGateOptions:
    """What to hold an eval run to when it is judged again."""

    baseline: str | None = None
    """Another baseline than the run's own."""
    margin: float | None = None
    """Another margin, in points."""
    held_to: Annotated[Mapping[str, Any], Parameter(parse=False)] = field(default_factory=dict)
    show_questions: bool = False
    """Put the text of questions into the report; GPQA's authors ask not to."""

    def changes(self) -> dict[str, object]:
        """What differs from the run's own settings. Raises ConfigurationError."""
        check_margin(self.margin)
        given = {"baseline": self.baseline, "margin": self.margin}
        named = {name: value for name, value in given.items() if value is not None}
        return {**self.held_to, **named}


def check_margin(margin: float | None) -> None:
    """Refuse a margin that is none. Raises ConfigurationError."""
    if margin is not None and not 0 < margin <= 100:
        raise ConfigurationError(f"--margin is in points above 0, not {margin:g}.")


def parse_list(option: str, text: str, known: Sequence[str] | None = None) -> tuple[str, ...]:
    """`a,b` as values without repeats. Raises ConfigurationError if one is not known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if known is not None and name not in known]
    if unknown or not names:
        found = unknown[0] if unknown else text
        wanted = f"takes {', '.join(known)}" if known else "takes names with commas between"
        raise ConfigurationError(f"{option} {wanted}, not {found!r}.")
    return tuple(dict.fromkeys(names))


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """`2/5` as (2, 5). Raises ConfigurationError."""
    if text is None:
        return None
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ConfigurationError(f"--shard is i/n with i from 1 to n, as in 1/4, not {text!r}.")
    return int(part), int(parts)
