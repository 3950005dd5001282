"""Synthetic harmony conversations to train the small checkpoint with."""

from training.data.mix import LONGEST, Example, Group, groups

__all__ = ["LONGEST", "Example", "Group", "groups"]
