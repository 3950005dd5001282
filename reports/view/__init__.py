"""A run in the browser while it goes on and afterwards: its folder is followed, and served."""
