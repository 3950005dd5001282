"""Golden files: what a trusted engine said, token by token, and what healthy engines differ by."""
