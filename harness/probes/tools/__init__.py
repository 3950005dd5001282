"""Probes of tool calling, all in the family `tools`."""
