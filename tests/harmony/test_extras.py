"""The command for an extra works where the tool was installed from."""

import json
from types import SimpleNamespace

import pytest

from harmony import extras


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install '.[evals]'"),
        ({"url": "file:///a%20b/tree", "dir_info": {}}, "pip install '/a b/tree[evals]'"),
        (
            {"url": "file:///a/tree", "dir_info": {"editable": True}},
            "pip install --editable '/a/tree[evals]'",
        ),
        (
            {"url": "file:///a/gpt_oss_verify-1-py3-none-any.whl", "archive_info": {}},
            "pip install '/a/gpt_oss_verify-1-py3-none-any.whl[evals]'",
        ),
        (
            {"url": "https://example.org/x", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}},
            "pip install 'gpt-oss-verify[evals] @ git+https://example.org/x@0a1b'",
        ),
    ],
)
def test_the_command_names_where_the_tool_came_from(origin, command, monkeypatch):
    text = None if origin is None else json.dumps(origin)
    installed = SimpleNamespace(read_text=lambda _: text)
    monkeypatch.setattr(extras, "distribution", lambda _: installed)
    assert extras.install_command("evals") == command


def test_without_an_installation_the_command_is_for_a_checkout(monkeypatch):
    def missing(name):
        raise extras.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", missing)
    assert extras.install_command("ray") == "pip install '.[ray]'"
