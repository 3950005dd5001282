"""What setuptools puts into the wheel, as it reads pyproject.toml itself."""

from pathlib import Path

import pytest
from setuptools import Distribution

ROOT = Path(__file__).parents[2]
PRODUCT = {"evals", "gpt_oss_verify", "harmony", "harness", "reference_engine", "reports"}


@pytest.fixture
def distribution(monkeypatch: pytest.MonkeyPatch) -> Distribution:
    monkeypatch.chdir(ROOT)
    found = Distribution()
    found.parse_config_files([str(ROOT / "pyproject.toml")])
    found.include_package_data = False  # Only the declared data; asking git would build egg-info.
    return found


def package_data(distribution: Distribution) -> set[str]:
    command = distribution.get_command_obj("build_py")
    command.ensure_finalized()
    return {f"{source}/{name}" for _, source, _, names in command.data_files for name in names}


def test_the_wheel_contains_every_package_of_the_product(distribution: Distribution) -> None:
    packages = distribution.packages
    assert {name.partition(".")[0] for name in packages} == PRODUCT
    folders = {str(path.parent.relative_to(ROOT)) for top in PRODUCT for path in python_files(top)}
    assert {name.replace(".", "/") for name in packages} >= folders


def test_the_wheel_contains_every_data_file_of_its_packages(distribution: Distribution) -> None:
    packed = package_data(distribution)
    files = {path for top in PRODUCT for path in (ROOT / top).rglob("*") if path.is_file()}
    data = {path for path in files if path.suffix not in {".py", ".pyc"}}
    assert packed == {str(path.relative_to(ROOT)) for path in data}


def python_files(top: str) -> list[Path]:
    return list((ROOT / top).rglob("*.py"))
