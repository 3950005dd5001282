"""Synthetic harmony conversations to train the small checkpoint with."""

from training.data.mix import LENGTHS, Example, Group, Shares, groups

__all__ = ["LENGTHS", "Example", "Group", "Shares", "groups"]
