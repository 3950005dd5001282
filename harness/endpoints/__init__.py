"""Launch a provider, check that it answers, and find the APIs that it supports."""
