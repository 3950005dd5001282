"""The tools that gpt-oss was trained with: a browser of local pages, and Python in a sandbox."""
