"""Chain of thought: returned, accepted back, used, and dropped in time."""
