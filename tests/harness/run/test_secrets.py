"""Keys, and what identifies this machine, are removed from texts."""

import pytest

from harness.records.redact import Scrubber
from harness.run.published_copy import shortened

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"\\n{KEY}",
        "gsk_" + "a1" * 20,
        "hf_" + "a1" * 15,
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer abcdefghijklmnop1234",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3.SflKxwRJSMeKKF2QT4",
        '"set-cookie":"session=1"',
    ],
)
def test_texts_that_look_like_keys_are_removed(text: str) -> None:
    assert Scrubber(()).text(f'{{"a":"b {text}"}}').count("[redacted]") == 1


@pytest.mark.parametrize(
    "text", ["task-list-of-many-many-words", "the risk-taking", '"authorization":"[redacted]"']
)
def test_other_texts_are_kept(text: str) -> None:
    assert Scrubber(()).text(text) == text


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("/home/me/x.jsonl", "…/x.jsonl"),
        ("--out=/srv/runs/a", "--out=…/a"),
        ("~/models/a", "…/a"),
        ("http://host:8000/v1/models/x", "http://host:8000/v1/models/x"),
        ("openai/gpt-oss-20b", "openai/gpt-oss-20b"),
        ("python3 at gpu17.example", "python3 at host.example"),
    ],
)
def test_paths_and_names_of_the_machine_are_shortened(text: str, short: str) -> None:
    assert shortened({"a": [text]}, "gpu17") == {"a": [short]}
