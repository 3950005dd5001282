"""Effort, temperature, seed, choices, and other options of requests."""
