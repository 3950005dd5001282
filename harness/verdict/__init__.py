"""From scores to a verdict: analysis, gate, and causes."""
