"""Data generation, training and evaluation of the small checkpoint on two CPU cores."""
