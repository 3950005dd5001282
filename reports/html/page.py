"""A page that stands alone: template, stylesheet and script in one file.

Everything a provider or a model said is hostile. It meets the page in two places only: as escaped
text of the template, and as JSON in a block that no browser runs, from which the script makes
nothing but text. The policy of the page lets that one script and that one stylesheet work, by
their hashes, and nothing else: no other script, no handler in an attribute, no request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.text.plain import plain

REPORT_SCRIPT = "report.js"


def render_page(
    template: str,
    data: object,
    *,
    own_script: str | None = REPORT_SCRIPT,
    own_styles: Sequence[str] = (),
    **content: object,
) -> str:
    """A whole page.

    Args:
        template: Name of the template.
        data: JSON value that the script finds in the page.
        own_script: The script of this kind of page, after the one that all have; if any.
        own_styles: Stylesheets beside the one that all have.
        content: What the template speaks of.
    """
    style = _joined(["report.css", *own_styles])
    script = _joined(["common.js", *([] if own_script is None else [own_script])])
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(style=style, script=script, policy=policy, data=embedded(data), **content)
    )


def embedded(data: object) -> Markup:
    """JSON that may stand in a script block: nothing in it closes the block or opens a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["codes"] = codes
    return environment


def codes(text: str) -> Markup:
    """The text with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(plain(text)))))  # noqa: S704


def _printable(value: object) -> object:
    """Text with what does not print, or turns the direction of a line, as escapes."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _joined(names: Sequence[str]) -> Markup:
    """Files of ours, one after another, that go into the page as they are."""
    folder = resources.files("reports.html") / "templates"
    texts = [(folder / name).read_text(encoding="utf-8") for name in names]
    return Markup("\n".join(texts))  # noqa: S704


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
