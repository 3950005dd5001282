"""Baselines by name, for verdicts."""

from pathlib import Path

from evals.baselines.eval_scores import Baseline
from evals.baselines.measured import MeasuredRun, read_baseline
from evals.baselines.published import PublishedBaseline, published_scores
from harness.errors import ConfigurationError

RANGE = "range"  # name of the default baseline: the healthy range of the independent reproductions


def choose_baseline(name: str | None) -> Baseline:
    """Return the baseline of `--baseline`: `range`, a source, or a file.

    Raises ConfigurationError.
    """
    published = published_scores()
    if name is None or name == RANGE:
        return PublishedBaseline(published)
    if name in published.sources:
        return PublishedBaseline(published, name)
    path = Path(name)
    if path.suffix or path.exists():
        return MeasuredRun(read_baseline(path), name)
    raise ConfigurationError(
        f"There is no baseline {name!r}: name one of {', '.join([RANGE, *published.sources])}, "
        "or a file."
    )
