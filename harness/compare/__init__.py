"""Runs side by side, over time, and as DataFrames."""
