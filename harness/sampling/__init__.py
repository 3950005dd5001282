"""Sampling: attempts with their tool loop, run concurrently and within a budget."""
