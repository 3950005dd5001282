"""First contact with a GPU: is every kernel correct, and how far is each phase from the limits?

    python -m benchmarks.gpu --out gpu-report

Needs PyTorch, Triton and NumPy only: no network, no checkpoint, no vocabulary. Weights are random,
in packed form, and made on the device. Each stage runs in its own process, takes less than ten
minutes, and adds its results to results.json and report.md; a second call runs what is missing.
"""
