"""Text: made fit for a terminal, read as strict JSON, and what a misspelt name may have meant."""
