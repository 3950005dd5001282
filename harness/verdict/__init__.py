"""From the judgements of a whole run to its figures and what the gate says of them. Pure."""
