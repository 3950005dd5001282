"""The pictures of reports in the documentation.

    python benchmarks/pictures.py

Verifies the reference engine with the defect of the tutorial and without it, and takes pictures of
the report and of the comparison in Chromium. Each picture states the hash of the templates that it
shows; tests/reports/test_pictures.py compares it with theirs.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import yaml
from PIL import Image, PngImagePlugin
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
TEMPLATES = ROOT / "reports" / "html" / "templates"
MADE_FROM = "templates"  # the key of the hash in a picture
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
COLORS = 32

_BEFORE_AND_AFTER = {"engine-1.0": [], "engine-1.1": ["--fault", "chat-reasoning-not-replayed"]}
_SERVE = "{python} -m reference_engine serve --port {port} --max-context 2048"
_OPTIONS = ("-n", "4", "-k", "15", "--only", "cases,cot,prompt.cot", "--out", ".")


def templates_hash() -> str:
    """Return the hash of the names and contents of all templates of the pages."""
    files = sorted(path for path in TEMPLATES.iterdir() if path.is_file())
    return hashlib.sha256(
        b"".join(path.name.encode() + path.read_bytes() for path in files)
    ).hexdigest()


def main() -> None:
    """Write all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        pages = dict(_pages(Path(folder)))
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, (page, selector, height) in pages.items():
            for scheme in SCHEMES:
                _save(f"{name}-{scheme}", _shot(browser, page, selector, height, scheme))
        browser.close()


def _pages(folder: Path) -> Iterator[tuple[str, tuple[Path, str, int]]]:
    """Yield the name of each picture, and its page, the element at its top and its height."""
    entries = {
        name: {
            "base_url": "http://127.0.0.1:{port}/v1",
            "model": "gpt-oss-small",
            "max_tokens": 192,
            "launch": {
                "command": [*_SERVE.split(), *fault],
                "ready_url": "http://127.0.0.1:{port}/health",
                "ready_timeout": 600,
            },
        }
        for name, fault in _BEFORE_AND_AFTER.items()
    }
    (folder / "providers.yaml").write_text(yaml.safe_dump({"providers": entries}), encoding="utf-8")
    runs = []
    for name in _BEFORE_AND_AFTER:
        _tool(folder, "--provider", name, *_OPTIONS)
        runs += [path.name for path in folder.glob(f"{name}-*")]
    _tool(folder, "compare", *runs, "--out", "compared")
    yield "report", (folder / runs[1] / "report.html", "#verdict", 620)
    yield "findings", (folder / runs[1] / "report.html", "#findings", 700)
    yield "comparison", (folder / "compared" / "compare.html", "main", 560)


def _tool(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "gpt_oss_verify", *arguments], cwd=folder, check=False)


def _shot(
    browser: Browser, page: Path, selector: str, height: int, scheme: Literal["light", "dark"]
) -> bytes:
    context = browser.new_context(viewport={"width": 1040, "height": height}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.locator(selector).first.evaluate("element => element.scrollIntoView({behavior: 'instant'})")
    taken = tab.screenshot()
    context.close()
    return taken


def _save(name: str, png: bytes) -> None:
    few_colors = (
        Image.open(io.BytesIO(png)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    )
    note = PngImagePlugin.PngInfo()
    note.add_text(MADE_FROM, templates_hash())
    few_colors.save(PICTURES / f"{name}.png", optimize=True, pnginfo=note)


if __name__ == "__main__":
    main()
