"""Reproduce a finding: send its request again, reduce it, print it as a command or an issue."""
