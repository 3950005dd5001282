"""Text helpers: terminal output, strict JSON, and suggestions for misspelled names."""
