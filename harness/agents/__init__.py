"""Agents of other projects as clients of a provider, with tasks whose results are known."""
