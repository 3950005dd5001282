"""Synthetic harmony conversations for training the small checkpoint."""

from training.data.mix import LENGTHS, Example, Group, Shares, groups

__all__ = ["LENGTHS", "Example", "Group", "Shares", "groups"]
