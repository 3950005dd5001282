"""The reports of runs and comparisons: on a terminal, and as HTML, Markdown and JUnit files."""
