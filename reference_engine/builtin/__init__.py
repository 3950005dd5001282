"""The tools that the server runs: a browser, and Python in a sandbox."""
