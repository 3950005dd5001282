"""The harmony prompt format: conversation, rendering, parsing, vocabulary, tests of parsers."""
