"""The installed tool: from a built wheel, without the checkout, in any folder."""

import json
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from background import in_background
from healthy import provider_of
from installed import FILES, PACKAGES, ROOT, Built, Installation, built
from mock_provider import MockProvider
from replies import MODEL

LARGEST_WHEEL = 12_000_000
ONE_CASE = ("--suite", "tools", "-n", "1", "-k", "1", "--rule", "guide")
PROVIDERS = "harness/data/providers.yaml"
DATA = {
    "evals/aime25/scores.json",
    "evals/aime25/published-aime25.csv",
    "evals/gpqa/eval.toml",
    "evals/aime25/samples.jsonl",
    "evals/gpqa/samples.csv",
    "evals/healthbench/samples.jsonl",
    "harness/data/cases.jsonl",
    "harness/data/tools.json",
    "harness/golden/gpt-oss-small.json",
    "reference_engine/small/chat_template.jinja",
    "reference_engine/small/checkpoint/config.json",
    "reference_engine/small/checkpoint/model.safetensors",
    "reports/html/templates/document.html",
    "reports/html/templates/report.css",
    "reports/html/templates/report.js",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def installation(distributions: Built, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("installed") / "venv", distributions.wheel)


def in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def of_packages(tree: Path) -> set[str]:
    found = (path for name in PACKAGES for path in (tree / name).rglob("*") if path.is_file())
    return {str(path.relative_to(tree)) for path in found}


def test_the_wheel_contains_all_packages_and_nothing_else(
    distributions: Built,
) -> None:
    packed = in_wheel(distributions.wheel)
    assert packed >= DATA
    assert packed == of_packages(distributions.tree) | {PROVIDERS}
    with zipfile.ZipFile(distributions.wheel) as archive:
        assert archive.read(PROVIDERS) == (ROOT / "providers.yaml").read_bytes()
    assert distributions.wheel.stat().st_size < LARGEST_WHEEL


def test_the_source_distribution_contains_what_the_wheel_contains(
    distributions: Built,
) -> None:
    with tarfile.open(distributions.sdist) as archive:
        unpacked = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert unpacked >= (in_wheel(distributions.wheel) - {PROVIDERS}) | set(FILES)


def test_a_base_install_runs_without_the_checkout(
    installation: Installation, tmp_path: Path
) -> None:
    where = (
        "import harness, evals, reports; print(harness.__file__, evals.__file__, reports.__file__)"
    )
    assert str(ROOT) not in installation.python(where, tmp_path)
    assert "--provider" in installation.run("--help", cwd=tmp_path)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", installation.run("--version", cwd=tmp_path))


def test_a_base_install_verifies_a_provider(installation: Installation, tmp_path: Path) -> None:
    """Building and installing the wheel, and eight commands of their own process, take 16 s of CPU.

    Each process imports the installed package, because the checkout must not be found.
    """
    with in_background(MockProvider(always=provider_of(), models=[MODEL])) as mock:
        place = ("--base-url", mock.base_url, "--model", MODEL)
        said = installation.run(*place, *ONE_CASE, "--json", cwd=tmp_path)
        installation.run(*place, *ONE_CASE, "--out", "again", cwd=tmp_path)
    assert json.loads(said)["verdict"]["decision"] == "pass"
    (run,) = (tmp_path / "runs").iterdir()
    assert "<!doctype html>" in (run / "report.html").read_text(encoding="utf-8")
    assert "OPENROUTER_API_KEY" in installation.run("providers", cwd=tmp_path)
    assert "requests" in installation.run(*place, "--dry-run", cwd=tmp_path)
    assert "PASS" in installation.run("recheck", str(run), cwd=tmp_path)
    (again,) = (tmp_path / "again").iterdir()
    installation.run("compare", str(run), str(again), cwd=tmp_path)
    installation.run("export", str(run), "--format", "csv", "--out", "csv", cwd=tmp_path)
    assert (tmp_path / "csv" / "attempts.csv").exists()
    exchange = json.loads((run / "rollouts.jsonl").read_text("utf-8").splitlines()[0])
    (first, *_) = exchange["exchanges"]
    recorded = {
        "request": first["request"]["body"],
        "response": json.loads(first["response"]["body"]),
    }
    (tmp_path / "traffic.jsonl").write_text(json.dumps(recorded), encoding="utf-8")
    installation.run("import", "traffic.jsonl", "--provider", "mine", cwd=tmp_path)


def test_a_base_install_says_how_to_get_the_engine(
    installation: Installation, tmp_path: Path
) -> None:
    installation.run("serve", cwd=tmp_path, code=2)


@pytest.fixture(scope="module")
def with_the_engine(installation: Installation) -> Installation:
    installation.add_all_extras()
    return installation


@pytest.fixture
def served(with_the_engine: Installation, tmp_path: Path) -> Iterator[str]:
    """The address of `serve` on the checkpoint in the wheel."""
    server = with_the_engine.start("serve", "--port", "0", "--max-context", "2048", cwd=tmp_path)
    assert server.stderr is not None
    said = next(line for line in server.stderr if "http://" in line)
    match = re.search(r"http://[\w.]+:\d+/v1", said)
    assert match, said
    yield match[0]
    server.terminate()
    try:
        server.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        server.kill()
        server.communicate()
        raise


def test_the_engine_in_the_wheel_serves_its_checkpoint(
    with_the_engine: Installation, served: str, tmp_path: Path
) -> None:
    place = ("--base-url", served, "--model", "gpt-oss-small", "--apis", "responses")
    assert "Added served" in with_the_engine.run("init", "served", *place, cwd=tmp_path)
    assert "served answers" in with_the_engine.run("providers", "served", cwd=tmp_path)
