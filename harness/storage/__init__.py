"""The run folder on disk: its log, the hash chain through it, and its seal."""
