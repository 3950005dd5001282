"""The pictures of reports in the documentation.

    python tools/pictures.py

Verifies the reference engine with the defect of the tutorial and without it, and takes pictures of
the report, of the comparison and of the view in Chromium. Each picture states the hash of the
templates that it shows; tests/reports/test_pictures.py compares it with theirs.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import yaml
from PIL import Image, PngImagePlugin
from playwright.sync_api import Browser, ViewportSize, sync_playwright

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
        _, after = _runs(Path(folder))
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        with _viewed(after) as view:
            report, compared = after / "report.html", Path(folder) / "compared" / "compare.html"
            for scheme in SCHEMES:
                shot = partial(_shot, browser, scheme)
                _save(f"report-{scheme}", shot(report.as_uri(), "#verdict", 1040, 620))
                _save(f"findings-{scheme}", shot(report.as_uri(), "#findings", 1040, 700))
                _save(f"comparison-{scheme}", shot(compared.as_uri(), "main", 1040, 560))
                _save(f"view-{scheme}", shot(view, ".row", 1240, 500, "Enter"))
        browser.close()


def _runs(folder: Path) -> list[Path]:
    """Return the folders of the runs, before and after the defect, which are compared."""
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
    runs: list[Path] = []
    for name in _BEFORE_AND_AFTER:
        _tool(folder, "--provider", name, *_OPTIONS)
        runs += folder.glob(f"{name}-*")
    _tool(folder, "compare", *(run.name for run in runs), "--out", "compared")
    return runs


@contextmanager
def _viewed(run: Path) -> Iterator[str]:
    """The address of the attempts with findings of a run, while it is served."""
    command = [sys.executable, "-m", "gpt_oss_verify", "view", str(run), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"{server.stdout.readline().strip()}?only=findings"
        server.terminate()


def _tool(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "gpt_oss_verify", *arguments], cwd=folder, check=False)


def _shot(
    browser: Browser,
    scheme: Literal["light", "dark"],
    address: str,
    selector: str,
    width: int,
    height: int,
    key: str = "",
) -> bytes:
    """Take a picture with an element at its top, after a key was pressed, if one is."""
    size: ViewportSize = {"width": width, "height": height}
    context = browser.new_context(viewport=size, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(address)
    top = tab.locator(selector).first
    top.evaluate("element => element.scrollIntoView({behavior: 'instant'})")
    if key:
        tab.keyboard.press(key)
        tab.locator("dialog[open]").wait_for()
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
