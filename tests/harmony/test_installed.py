"""The package behind the import name `openai_harmony`, which two packages install."""

import base64
import hashlib
from pathlib import Path

import openai_harmony as oh
import pytest

from harmony import installed
from harmony.installed import HarmonyPackage, harmony_package


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(oh, "__file__", str(tmp_path / "openai_harmony" / "__init__.py"))
    harmony_package.cache_clear()
    yield tmp_path
    harmony_package.cache_clear()


def install(site: Path, name: str, version: str, content: bytes) -> None:
    """Write the files of a wheel, as pip does."""
    (site / "openai_harmony").mkdir(exist_ok=True)
    record = []
    for file, data in (("__init__.py", b"same"), ("openai_harmony.abi3.so", content)):
        (site / "openai_harmony" / file).write_bytes(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"openai_harmony/{file},sha256={digest},{len(data)}")
    record.append("openai_harmony/__pycache__/__init__.cpython-311.pyc,,")
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "RECORD").write_text("\n".join(record))
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_openais_package_alone_needs_no_warning(site):
    install(site, "openai-harmony", "0.0.8", b"first")
    assert harmony_package() == HarmonyPackage("openai-harmony", "0.0.8")
    assert harmony_package().described == "openai-harmony 0.0.8"
    assert harmony_package().warning is None


def test_a_fork_alone_is_named(site):
    install(site, "oss-harmony", "0.0.11", b"fork")
    warning = harmony_package().warning
    assert (
        "from oss-harmony 0.0.11, not from openai-harmony: message headers are our own" in warning
    )


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_packages_the_last_one_is_named(site, order):
    both = [("openai-harmony", "0.0.8", b"first"), ("oss-harmony", "0.0.11", b"fork")][::order]
    for each in both:
        install(site, *each)
    (other, its, _), (name, version, _) = both
    assert harmony_package() == HarmonyPackage(name, version, (f"{other} {its}",))
    assert f"{name} was installed last" in harmony_package().warning
    assert harmony_package().warning.startswith(f"{name} {version} and {other} {its} install")


def test_a_module_that_no_package_claims(site):
    assert harmony_package().described == "unknown"
    assert "from unknown" in harmony_package().warning


def test_this_installation():
    harmony_package.cache_clear()
    assert harmony_package().name in (installed.OPENAI, "oss-harmony")
    assert harmony_package().version
