"""From single rollouts to outcomes, judgements and results of checks. Pure."""
