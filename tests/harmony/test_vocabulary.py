"""Every source of the vocabulary file, without the network."""

import hashlib
import importlib.metadata
import io
import multiprocessing
import subprocess
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from harmony import vocabulary
from harmony.vocabulary import FILE_NAME, VocabularyError, vocabulary_file

CONTENT = b"IQ== 0\nIg== 1\n"


class Sources:
    """The sources that the module under test uses; all are missing until a test provides them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self.asked: list[str] = []
        self.downloads: bytes | None = None
        self.wheel: bytes | None = None
        self.site = folder / "site"
        self.installed = False
        patch.setattr(vocabulary, "SHA256", hashlib.sha256(CONTENT).hexdigest())
        patch.setattr(vocabulary, "cache_folder", lambda: self.cache)
        patch.delenv("TIKTOKEN_ENCODINGS_BASE", raising=False)
        patch.setattr(urllib.request, "urlopen", self._urlopen)
        patch.setattr(subprocess, "run", self._run)
        patch.setattr(importlib.metadata, "distribution", self._distribution)

    def _urlopen(self, url, timeout):
        self.asked.append("download")
        assert timeout < 10
        if self.downloads is None:
            raise urllib.error.URLError("no route")
        return io.BytesIO(self.downloads)

    def _run(self, command, **_):
        self.asked.append("pip")
        if self.wheel is None:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: no matching distribution\n")
        folder = Path(command[command.index("--dest") + 1])
        folder.joinpath("litellm-0-py3-none-any.whl").write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    def _distribution(self, name):
        if not self.installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return importlib.metadata.PathDistribution(self.site / "litellm-0.dist-info")


@pytest.fixture
def sources(tmp_path, monkeypatch):
    return Sources(tmp_path, monkeypatch)


def wheel_with(member: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(member, CONTENT)
    return data.getvalue()


def test_uses_the_folder_named_by_the_environment_variable(sources, tmp_path, monkeypatch):
    (tmp_path / FILE_NAME).write_bytes(CONTENT)
    monkeypatch.setenv("TIKTOKEN_ENCODINGS_BASE", str(tmp_path))
    assert vocabulary_file() == tmp_path / FILE_NAME
    assert not sources.asked


def test_uses_the_cached_file(sources):
    sources.cache.mkdir()
    (sources.cache / FILE_NAME).write_bytes(CONTENT)
    assert vocabulary_file() == sources.cache / FILE_NAME
    assert not sources.asked


def test_replaces_a_damaged_cached_file(sources):
    sources.cache.mkdir()
    (sources.cache / FILE_NAME).write_bytes(CONTENT[:-1])
    sources.downloads = CONTENT
    assert vocabulary_file().read_bytes() == CONTENT


def test_reads_an_installed_litellm(sources):
    sources.installed = True
    member = sources.site / vocabulary.WHEEL_MEMBER
    member.parent.mkdir(parents=True)
    member.write_bytes(CONTENT)
    assert vocabulary_file().read_bytes() == CONTENT
    assert not sources.asked


def test_downloads_into_the_cache(sources):
    sources.downloads = CONTENT
    assert vocabulary_file() == sources.cache / FILE_NAME
    assert [path.name for path in sources.cache.iterdir()] == [FILE_NAME]
    assert vocabulary_file().read_bytes() == CONTENT
    assert sources.asked == ["download"]


@pytest.mark.parametrize("downloads", [None, b"<html>proxy login</html>"])
def test_falls_back_to_the_wheel(sources, downloads):
    sources.downloads = downloads
    sources.wheel = wheel_with(vocabulary.WHEEL_MEMBER)
    assert vocabulary_file().read_bytes() == CONTENT
    assert sources.asked == ["download", "pip"]


@pytest.mark.parametrize("wheel", [None, b"not a zip", wheel_with("other")])
def test_the_error_says_what_to_do_when_no_source_works(sources, wheel):
    sources.wheel = wheel
    with pytest.raises(
        VocabularyError, match="set TIKTOKEN_ENCODINGS_BASE to that folder"
    ) as caught:
        vocabulary_file()
    assert "\n" not in str(caught.value)
    assert "no route" in str(caught.value)


def test_the_error_says_what_to_do_when_the_cache_is_not_writable(sources, tmp_path):
    sources.downloads = CONTENT
    sources.cache = tmp_path / "file" / "cache"
    (tmp_path / "file").touch()
    with pytest.raises(VocabularyError, match="make that folder writable"):
        vocabulary_file()


def _put(folder: Path, start) -> None:
    vocabulary.cache_folder = lambda: folder
    start.wait()
    for _ in range(20):
        vocabulary._put_into_cache(b"x" * 300_000)


def test_concurrent_processes_never_see_an_incomplete_file(tmp_path):
    context = multiprocessing.get_context("fork")
    start = context.Event()
    writers = [context.Process(target=_put, args=(tmp_path, start)) for _ in range(3)]
    for writer in writers:
        writer.start()
    start.set()
    sizes = set()
    while any(writer.is_alive() for writer in writers):
        if (tmp_path / FILE_NAME).exists():
            sizes.add(len((tmp_path / FILE_NAME).read_bytes()))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sizes <= {300_000}
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_token_bytes_agree_with_the_library():
    encoding = vocabulary.harmony_encoding()
    table = vocabulary.token_bytes()
    text = 'naïve 日本語 🤷🏽‍♀️ {"a": 1}\n'
    assert b"".join(table[token] for token in encoding.encode(text)).decode() == text
    assert len(table) == 199998
