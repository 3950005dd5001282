"""Seals, audits and bundles of runs: evidence that the records are the original ones."""
