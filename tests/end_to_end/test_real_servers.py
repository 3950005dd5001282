"""The bench of real servers: their descriptions, and the comparison with the expectations."""

import importlib.util
import sys
from pathlib import Path

import pytest

from harness.providers.entries import load_providers
from harness.rules.catalogue import RULES

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location(
    "real_servers", ROOT / "benchmarks" / "real_servers.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
bench = importlib.util.module_from_spec(_SPEC)
sys.modules["real_servers"] = bench
_SPEC.loader.exec_module(bench)

SERVERS = bench.described()


@pytest.mark.parametrize("name", SERVERS)
def test_expectations_name_rules_and_give_reasons(name: str) -> None:
    server = SERVERS[name]
    assert set(server.expected) <= set(RULES)
    assert all(len(each.reason) > 20 for each in server.expected.values())
    assert server.version in server.install + server.serve + " ".join(server.prepare)


@pytest.mark.parametrize("name", SERVERS)
def test_descriptions_make_valid_provider_entries(name: str, tmp_path: Path) -> None:
    one = bench.Bench(name, SERVERS[name], tmp_path, tmp_path / "checkpoint")
    one.folder.mkdir()
    provider = load_providers(one.providers())[name]
    assert "{port}" in " ".join(provider.launch.command)
    assert "{env}" not in " ".join(provider.launch.command)


def test_findings_are_compared_with_the_expectations() -> None:
    expected = {
        "a.always": bench.Expectation(reason="because"),
        "a.sometimes": bench.Expectation(reason="because", always=False),
    }
    assert bench.compared({"a.always": "error"}, expected) == []
    assert bench.compared({"a.always": "error", "a.sometimes": "error"}, expected) == []
    assert bench.compared({"b": "warning"}, expected) == [
        "not expected: warning b",
        "not found: a.always (because)",
    ]


def test_only_errors_and_warnings_with_findings_count() -> None:
    def check(rule: str, severity: str, status: str) -> dict[str, object]:
        return {"check": {"id": rule, "severity": severity}, "status": status}

    checks = [
        check("a", "error", "failed"),
        check("b", "warning", "warned"),
        check("c", "error", "passed"),
        check("d", "error", "not_verifiable"),
        check("e", "error", "warned"),
    ]
    found = {"a": "error", "b": "warning", "e": "warning"}
    assert bench.severities({"checks": checks}) == found
