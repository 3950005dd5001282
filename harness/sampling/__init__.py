"""Carrying out attempts: the tool loop, many at a time, within a budget."""
