"""The test of whether two sets of answers come from the same model."""

import numpy as np

from harness.statistics.model_equality import p_value


def sampled(generator, weights, count):
    words = ["red fox", "red hen", "blue owl", "blue hen", "a cat"]
    drawn = generator.choice(words, size=(6, count), p=weights)
    return {f"prompt {at}": list(row) for at, row in enumerate(drawn)}


def test_equal_models_differ_at_the_nominal_rate():
    weights = [0.3, 0.25, 0.2, 0.15, 0.1]
    generator = np.random.default_rng(1)
    values = [
        p_value(sampled(generator, weights, 20), sampled(generator, weights, 6)) for _ in range(40)
    ]
    assert sum(value <= 0.05 for value in values) <= 6  # 2 are expected; P(more than 6) < 0.4%.
    assert min(values) > 0.001


def test_another_model_differs():
    generator = np.random.default_rng(2)
    golden = sampled(generator, [0.3, 0.25, 0.2, 0.15, 0.1], 20)
    assert p_value(golden, sampled(generator, [0.95, 0.05, 0, 0, 0], 6)) <= 0.001
