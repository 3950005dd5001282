"""Training of the small checkpoint, fast on two CPU cores."""
