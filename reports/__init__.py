"""Run folder in, readable files out."""
