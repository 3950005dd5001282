"""The types that are written to disk, which sampling, judging and reports share."""
