"""Rules: what each requires, and which part of a server is at fault if it fails."""
