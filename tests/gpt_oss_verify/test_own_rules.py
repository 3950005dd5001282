"""Rules of other packages: the example of docs/own-rules.md, and packages that are broken."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mock_provider import MockProvider
from replies import MODEL

PAGE = (Path(__file__).parents[2] / "docs" / "own-rules.md").read_text("utf-8")
RAISES = """
@family.check("acme.raises", good_statuses)
def _raises(exchange):
    '''It is broken. It is.'''
    raise KeyError("colour")
"""


def install(folder: Path, name: str, source: str) -> None:
    """Put a package with one module into a folder, as installers do."""
    (folder / f"{name}_rules.py").write_text(source, "utf-8")
    about = folder / f"{name}_rules-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-rules\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[gpt_oss_verify.rules]\n{name} = {name}_rules\n")


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    return code


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpt_oss_verify", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_example_of_the_docs_is_listed_judged_and_part_of_a_gate(
    tmp_path: Path, mock: MockProvider
) -> None:
    install(tmp_path, "acme", example() + RAISES)
    install(tmp_path, "broken", "import no_such_module\n")
    install(tmp_path, "thief", example())
    listed = command(tmp_path, "checks", "--family", "acme").stdout
    assert "acme.request_id · error" in listed
    assert "A request with a priority gets a reply." in listed
    only = ("--only", "acme,cases", "-n", "1", "-k", "1", "--may-warn", "acme", "--json")
    done = command(tmp_path, "--base-url", mock.base_url, "--model", MODEL, *only)
    found = json.loads(done.stdout)
    results = {each["id"]: each for each in found["checks"]}
    assert results["acme.request_id"]["status"] == "warned"
    assert results["acme.priority"]["status"] == "passed"
    assert results["acme.raises"]["status"] == "not_verifiable"
    assert found["verdict"]["internal_errors"] == {}
    assert found["exit_code"] == done.returncode != 70
    warnings = "\n".join(found["verdict"]["warnings"])
    assert "acme.raises" in warnings
    assert "KeyError: 'colour'" in warnings
    assert "broken_rules" in warnings
    assert "no_such_module" in warnings
    assert re.search(r"thief_rules.*acme\.request_id", warnings)


def test_an_error_of_an_own_rule_is_a_failed_rule_and_makes_no_call_invalid(
    tmp_path: Path, mock: MockProvider
) -> None:
    install(tmp_path, "acme", example())
    only = ("--only", "acme.request_id,cases", "-n", "2", "-k", "1", "--json")
    done = command(tmp_path, "--base-url", mock.base_url, "--model", MODEL, *only)
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert {result["invalid"] for result in found["results"]} == {0}
    assert {outcome for result in found["results"] for outcome in result["outcomes"]} == {"success"}
    (reason,) = found["verdict"]["reasons"]
    assert re.fullmatch(r"1 of \d+ checks failed\.", reason)


@pytest.mark.parametrize("words", [("checks", "--all"), ("checks", "usage.sum")])
def test_a_broken_package_costs_itself_only(tmp_path: Path, words: tuple[str, ...]) -> None:
    install(tmp_path, "broken", "1 / 0\n")
    listed = command(tmp_path, *words)
    assert listed.returncode == 0
    assert "usage.sum" in listed.stdout
    assert "broken_rules" in listed.stderr
    assert "Traceback" not in listed.stderr
