"""The types that sampling, judging and reports share; most are written to disk."""
