"""A run packed into one file for others to judge: without keys, machine paths or gated texts."""
