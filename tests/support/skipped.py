"""Which kinds of tests a machine could not run, and what they need."""

from collections import Counter
from collections.abc import Iterable, Mapping

_KINDS: Mapping[str, str] = {
    "Chromium": "pages in a browser; install Chromium, on Debian: apt-get install chromium",
    "CUDA": "kernels and engine on a GPU; they need an NVIDIA GPU: make gpu",
    "GPU": "kernels and engine on a GPU; they need an NVIDIA GPU: make gpu",
    "inspect_ai": "Inspect; install inspect_ai: .venv/bin/pip install inspect-ai",
    "polars": "readers of tables; make readers installs them",
    "ray": "a Ray cluster; install Ray: .venv/bin/pip install '.[ray]' -c constraints.txt",
    "mlx": "MLX; it needs a Mac with Apple silicon: .venv/bin/pip install mlx-lm",
    "sandbox": "programs in a sandbox; the reason above says what this machine lacks",
}
"""What a reason to skip a test says, and the kind of tests with what they need."""


def not_tested(reasons: Iterable[str]) -> list[str]:
    """Return a line for each kind of skipped tests: their number, their kind, what they need."""
    kinds = Counter(
        next((kind for word, kind in _KINDS.items() if word in reason), f"others: {reason}")
        for reason in reasons
    )
    return [f"  {count} of {kind}" for kind, count in kinds.most_common()]
