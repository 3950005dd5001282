"""The pipeline of every run: plan, run, score, analyze, gate."""
