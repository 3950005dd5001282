"""What rules judge: parts of rollouts, token accounts and traits. Knows no rule."""
