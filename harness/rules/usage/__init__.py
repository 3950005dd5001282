"""Token counts: present, possible, and those of the text."""
