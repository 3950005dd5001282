"""Reproduce a finding: its request as a command, sent again, made smaller, and as an issue text."""
