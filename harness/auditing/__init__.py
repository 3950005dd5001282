"""Whether a run folder is still what was recorded; see docs/trust.md for what that can prove."""
