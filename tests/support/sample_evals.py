"""An eval with all its sample questions, in one step."""

from evals.registry import AnyEval, load_data, make_eval


def load_eval(name: str, seed: int = 0) -> AnyEval:
    """The eval that asks the samples that ship."""
    return make_eval(load_data(name, "samples"), seed)
