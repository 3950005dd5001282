"""Golden files: the tokens and logprobs of the reference engine, and healthy deviations."""
