"""Sample attempts: the tool loop, budgets, launch and preflight, and the run folder on disk."""
