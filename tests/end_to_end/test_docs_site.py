"""The documentation site is built from the pages without warnings."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if tag == "a" and name == "href"]


def test_every_page_is_in_the_site_and_links_stay_inside_it(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    pages = {"index.html"} | {
        f"{page.stem}/index.html"
        for page in [*(ROOT / "docs").glob("*.md"), Path("overview.md"), Path("checks.md")]
        if page.stem != "README"
    }
    assert pages <= {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.html")}
    for page in pages:
        links = Links()
        links.feed((tmp_path / page).read_text())
        for link in links.found:
            path = link.partition("#")[0]
            if path and "://" not in path:
                target = ((tmp_path / page).parent / path).resolve()
                assert target.is_relative_to(tmp_path), f"{page} links to {link}"
                assert target.exists(), f"{page} links to {link}"
