"""Replies that any release of the `openai` package of the past year accepts are accepted."""

import json
import runpy
import zipfile
from importlib import resources
from pathlib import Path

import examined
import openai
import pytest
from packaging.version import Version
from replies import Reply
from written import ABSENT, responses

SCRIPT = runpy.run_path(
    str(Path(__file__).parents[3] / "tools" / "sdk_history.py"), run_name="sdk_history"
)
DETAILS = "usage.input_tokens_details"
OLD = """
class Usage(BaseModel):
    total: int
    kind: Optional[Literal["a", "b"]] = None

class Gone(BaseModel):
    id: str
"""
NEW = """
class Usage(BaseModel):
    total: int
    cached: int
    kind: Optional[Literal["b", "c"]] = None

class Added(BaseModel):
    id: str
"""


def findings(change):
    return examined.findings(responses(change, Reply(text="It is sunny.")))


@pytest.mark.parametrize(
    "change",
    [
        {f"{DETAILS}.cache_write_tokens": ABSENT},
        {f"{DETAILS}.cache_write_tokens": None},
        {"prompt_cache_retention": "in-memory"},
        {"service_tier": "on_demand"},
    ],
)
def test_replies_that_an_older_release_accepts_are_accepted(change):
    assert findings(change) == set()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({f"{DETAILS}.cache_write_tokens": "many"}, "responses.schema"),
        ({f"{DETAILS}.cached_tokens": ABSENT}, "responses.schema"),
        ({"usage.total_tokens": ABSENT}, "responses.schema"),
        ({"prompt_cache_retention": "for ever"}, "responses.schema.minor"),
        ({"service_tier": 5}, "responses.schema"),
    ],
)
def test_replies_that_no_release_accepts_are_reported(change, found):
    assert findings(change) == {found}


def test_the_installed_release_is_covered():
    data = json.loads((resources.files("harness") / "data" / "sdk_history.json").read_text("utf-8"))
    newest = max(map(Version, data["releases"]))
    assert Version(openai.__version__) <= newest, "run tools/sdk_history.py with this release"


def test_the_history_of_two_releases(tmp_path):
    releases = []
    for version, source in (("1.0.0", OLD), ("2.0.0", NEW)):
        wheel = tmp_path / f"openai-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("openai/types/responses/usage.py", source)
            archive.writestr("openai/types/responses/usage_param.py", NEW.replace("cached", "x"))
        releases.append(SCRIPT["Release"].read(wheel))
    assert SCRIPT["history"](releases[::-1]) == {
        "releases": ["1.0.0", "2.0.0"],
        "newly_required": {"usage.Usage.cached": "after 1.0.0"},
        "formerly_accepted": {"usage.Usage.kind": ["a"]},
    }
