"""Tasks: samples, how they are sampled, and how each rollout is scored."""
