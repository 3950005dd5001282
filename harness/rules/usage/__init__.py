"""Token counts: present, possible, and matching the text."""
