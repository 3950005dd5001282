"""Pure functions from a recorded rollout to findings."""
