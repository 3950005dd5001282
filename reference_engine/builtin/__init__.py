"""The tools that the server runs: a browser, Python in a sandbox, and those of MCP servers."""
