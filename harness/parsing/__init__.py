"""Parsed rollouts: requests, replies, stream events and the grammar of streams."""
