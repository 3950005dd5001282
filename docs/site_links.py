"""What the documentation site changes.

The README, the list of all rules and the tables of clients are pages; other files have no links.
"""

import re
import runpy
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from gpt_oss_verify.checks import entries, markdown

OVERVIEW = "overview.md"
_PICTURE = re.compile(r'"(?:docs/)?pictures/')
_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./(?!\w+://)[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, with its links to pages as links from a page, all rules, and tables."""
    text = (Path(config.config_file_path).parent / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((?!docs/|#|https?://)([^)]*)\)", r"](../\1)", text)
    files.append(File.generated(config, OVERVIEW, content=text.replace("](docs/", "](")))
    files.append(File.generated(config, "checks.md", content=markdown(entries())))
    tables = runpy.run_path(str(Path(__file__).with_name("client_tables.py")))["page"]()
    files.append(File.generated(config, "client-tables.md", content=tables))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Link to the README's page, and show what other links outside the pages name.

    The word after the language of a block is for the tests of the commands.
    """
    markdown = markdown.replace("```console provider", "```console")
    markdown = _PICTURE.sub('"../pictures/', markdown)  # a page is a folder of the site
    return _OUTSIDE.sub(r"\1", markdown.replace("](../README.md", f"]({OVERVIEW}"))
