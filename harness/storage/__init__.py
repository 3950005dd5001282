"""The run folder on disk: its files, its logs, and the hash chain through each log."""
