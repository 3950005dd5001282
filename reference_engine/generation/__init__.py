"""From a prompt to tokens: forward passes, sampling, scheduling, the engine."""
