"""pass@k, pass^k, intervals and the distributions under them. Pure."""
