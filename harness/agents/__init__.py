"""Agents of other projects as clients of a provider, with tasks that have known results."""
