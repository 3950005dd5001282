"""The pictures of reports in the documentation show the pages as they are."""

import re

from PIL import Image

from tools.pictures import MADE_FROM, PICTURES, ROOT, templates_hash

LARGEST = 300_000  # bytes of all pictures
PAGES = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))


def test_pictures_are_not_older_than_the_templates() -> None:
    """If it fails: python tools/pictures.py."""
    for path in PICTURES.iterdir():
        with Image.open(path) as picture:
            assert picture.info[MADE_FROM] == templates_hash(), f"{path.name} is out of date"


def test_every_picture_is_shown_and_all_are_small() -> None:
    shown = {
        (page.parent / place).resolve()
        for page in PAGES
        for place in re.findall(r'(?:src|srcset)="([^"]+)"', page.read_text(encoding="utf-8"))
    }
    made = set(PICTURES.iterdir())
    assert shown == made
    assert sum(path.stat().st_size for path in made) <= LARGEST
