"""Baselines of scores: published figures with their sources, and measured runs."""
