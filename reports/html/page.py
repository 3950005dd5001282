"""Self-contained HTML pages: template, stylesheet and script in one file.

All text from providers and models is hostile. It enters a page in two places only: as escaped text
of the template, and as JSON in a block that browsers do not run and that the script shows as text.
The content security policy allows only the script and the stylesheet of the page, by their hashes.
It blocks other scripts, event handlers in attributes, and all requests.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.records.register import elsewhere
from harness.text import plain
from reports.text import trimmed

REPORT_SCRIPTS = ("transcript.js", "report.js")


def render_page(
    template: str,
    data: object,
    *,
    own_scripts: Sequence[str] = REPORT_SCRIPTS,
    own_styles: Sequence[str] = (),
    asks_server: bool = False,
    **content: object,
) -> str:
    """Render a page with the variables `content`; its script reads `data`.

    With `asks_server`, the script may send requests to where the page came from.
    """
    style = _joined(["report.css", *own_styles])
    script = _joined(["common.js", *own_scripts])
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'" + "; connect-src 'self'" * asks_server
    )
    content |= {"style": style, "script": script, "policy": policy, "data": embedded(data)}
    return render_template(template, **content)


def render_template(template: str, **content: object) -> str:
    """Render a template with escaping, without script or policy."""
    return _environment().get_template(template).render(**content)


def embedded(data: object) -> Markup:
    """Return JSON for a script block, so that it cannot close the block or open a comment."""
    text = orjson.dumps(data).decode()
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Text has unprintable characters and direction marks escaped.
        finalize=lambda value: (
            plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        ),
    )
    filters = {"codes": codes, "trimmed": trimmed, "unbroken": unbroken, "elsewhere": elsewhere}
    environment.filters |= filters
    return environment


_SPAN = Markup('<span class="unbroken">{}</span>')
_UNBROKEN = re.compile(r"(?<![^\s`(])(--?[a-z][a-z-]{0,30}|gpt-oss-verify)(?![\w-])")


def codes(text: str) -> Markup:
    """Return the text with the parts in backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(unbroken(text))))  # noqa: S704


def unbroken(text: str) -> Markup:
    """Return the text without line breaks after the hyphens of options and of the tool's name."""
    parts = _UNBROKEN.split(plain(text))  # every second part is an option or the name
    made = (_SPAN.format(part) if at % 2 else escape(part) for at, part in enumerate(parts))
    return Markup("").join(made)


def _joined(names: Sequence[str]) -> Markup:
    """Return the files with these names, without indents and lines of comment; not escaped."""
    folder = resources.files("reports.html") / "templates"
    texts = [(folder / name).read_text(encoding="utf-8") for name in names]
    return Markup(_INDENT_OR_COMMENT.sub("", "\n".join(texts)))  # noqa: S704


_INDENT_OR_COMMENT = re.compile(r"^ *//.*\n|^ +", re.MULTILINE)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
