"""Token limits, stop strings, and the reasons why replies end."""
