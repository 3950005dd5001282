"""The command that adds optional packages to this installation."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import urlsplit

_NAME = "gpt-oss-verify"


def install_command(extra: str) -> str:
    """Return the pip command that installs an extra from where this installation came from.

    pip records that place in `direct_url.json` (PEP 610): a checkout, a wheel, or a repository.
    Without such a record, the command is for a checkout.
    """
    try:
        origin = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        origin = {}
    url, vcs = origin.get("url", ""), origin.get("vcs_info")
    if vcs:
        return f"pip install '{_NAME}[{extra}] @ {vcs['vcs']}+{url}@{vcs['commit_id']}'"
    editable = "--editable " if origin.get("dir_info", {}).get("editable") else ""
    from urllib.request import url2pathname  # with email and http, which only an error needs

    place = url2pathname(urlsplit(url).path) if url.startswith("file:") else "."
    return f"pip install {editable}'{place}[{extra}]'"
