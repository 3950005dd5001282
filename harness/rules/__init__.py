"""The rules, one folder per family: checks, probes, and the requests of the probes.

A family imports `evidence`, `rule`, `check` and `probe`, and no other family. `catalogue` finds all
rules, `results` judges a run by them, and `suites` chooses those of a run.
"""
