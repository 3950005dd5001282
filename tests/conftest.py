"""Makes `support` importable by every test."""
