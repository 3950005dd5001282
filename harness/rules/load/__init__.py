"""Many concurrent requests."""
