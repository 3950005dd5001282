"""Structured output: JSON that conforms to its schema, with CoT."""
