"""Logprobs and tokens of the reference engine."""
