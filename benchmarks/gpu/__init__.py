"""Tests on a GPU: whether every kernel is correct, and how close each phase is to the limits.

    python -m benchmarks.gpu --out gpu-report

Needs only PyTorch, Triton and NumPy, but no network, checkpoint or vocabulary. Weights are random,
packed, and created on the device. Each stage runs in its own process, takes less than ten minutes,
and adds its results to results.json and report.md; a second call runs the missing stages.
"""
