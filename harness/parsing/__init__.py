"""Recorded rollouts, parsed: replies, events, and what the requests asked for. Pure."""
