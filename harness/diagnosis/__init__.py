"""From the findings of a run to their likely causes."""
