"""Extraction of an integer or a letter from a final answer, by pure functions."""
