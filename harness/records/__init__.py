"""The types that are written to disk, and all that asking, judging and reporting share."""
