"""The harmony prompt format: conversation, rendering, parsing, vocabulary."""
