"""Generated text: leaks of the prompt format, defects of characters, additions, and copies."""
