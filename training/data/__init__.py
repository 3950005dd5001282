"""Synthetic harmony conversations to train the small checkpoint with."""

from training.data.mix import LENGTHS, Example, Group, groups

__all__ = ["LENGTHS", "Example", "Group", "groups"]
