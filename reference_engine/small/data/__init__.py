"""Synthetic harmony conversations to train the small checkpoint with."""

from reference_engine.small.data.mix import Example, Group, groups

__all__ = ["Example", "Group", "groups"]
