"""Rejected and failed requests."""
