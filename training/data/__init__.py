"""Synthetic harmony conversations to train the small checkpoint with."""

from training.data.mix import Example, Group, groups

__all__ = ["Example", "Group", "groups"]
