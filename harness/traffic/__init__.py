"""Recorded traffic as rollouts: read recordings, keep gpt-oss exchanges, join conversations."""
