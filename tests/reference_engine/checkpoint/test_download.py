"""Downloads of checkpoints, from a local fake Hub."""

import errno
import hashlib

import pytest
from fake_hub import fake_hub

from reference_engine.__main__ import main
from reference_engine.checkpoint import download as module
from reference_engine.checkpoint.download import published_hashes, wanted
from reference_engine.errors import SetupError

REPOSITORY = "openai/gpt-oss-20b"
FILES = {
    f"{REPOSITORY}/{name}": f"{name} " * 50
    for name in (
        "config.json", "tokenizer.json", "chat_template.jinja", "README.md",
        "model-00000-of-00001.safetensors", "model-00001-of-00001.safetensors",
        "model.safetensors.index.json", "original/config.json", "original/dtypes.json",
        "original/model.safetensors", "metal/model.bin",
    )
}  # fmt: skip


def said(capsys, *arguments: str) -> str:
    assert main(["download", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def weights(requests: list[str]) -> list[str]:
    return [each for each in requests if each.startswith("GET") and "safetensors" in each]


def test_only_necessary_files_are_downloaded_and_only_once(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    with fake_hub(FILES, (), tmp_path / "cache", monkeypatch) as requests:
        assert main(["download", "gpt-oss-20b", "--out", str(out)]) == 0
        assert capsys.readouterr().out == f"{out}\n"
        found = {path.name for path in out.iterdir() if path.is_file()}
        assert found == set(wanted([name.removeprefix(f"{REPOSITORY}/") for name in FILES], "hf"))
        assert len(found) == 6
        for name in found:
            assert (out / name).read_text(encoding="utf-8") == FILES[f"{REPOSITORY}/{name}"]
        fetched = weights(requests)
        assert len(fetched) == 3
        (out / "model-00001-of-00001.safetensors").unlink()
        assert main(["download", "gpt-oss-20b", "--out", str(out)]) == 0
        assert weights(requests)[3:] == [
            f"GET /{REPOSITORY}/resolve/{'0' * 40}/model-00001-of-00001.safetensors"
        ]
        arguments = ["gpt-oss-20b", "--out", str(out), "--layout", "original"]
        assert main(["download", *arguments]) == 0
    assert capsys.readouterr().out.endswith(f"{out / 'original'}\n")
    assert sorted(path.name for path in (out / "original").iterdir()) == [
        "config.json", "dtypes.json", "model.safetensors",
    ]  # fmt: skip


def test_a_file_with_a_wrong_hash_is_removed(tmp_path, monkeypatch, capsys):
    name = "model-00001-of-00001.safetensors"
    other = {f"{REPOSITORY}/{name}": "something else"}
    with fake_hub(FILES, (), tmp_path / "cache", monkeypatch, listed=other):
        assert f"{name} does not have the hash that {REPOSITORY} lists" in said(
            capsys, "gpt-oss-20b", "--out", str(tmp_path / "out")
        )
    assert not (tmp_path / "out" / name).exists()


def test_the_hashes_of_the_weights_are_listed(tmp_path, monkeypatch):
    def of(name: str) -> str:
        return hashlib.sha256(FILES[f"{REPOSITORY}/{name}"].encode()).hexdigest()

    shards = [f"model-0000{number}-of-00001.safetensors" for number in range(2)]
    with fake_hub(FILES, (), tmp_path / "cache", monkeypatch) as requests:
        assert published_hashes("gpt-oss-20b", "hf") == {shard: of(shard) for shard in shards}
        assert published_hashes(REPOSITORY, "original") == {
            "model.safetensors": of("original/model.safetensors")
        }
    assert not weights(requests)
    refused = OSError("[Errno 111] Connection refused")
    monkeypatch.setattr(module, "_listed", _raising(refused))
    with pytest.raises(SetupError, match=r"could not be looked up .* and rerun\.$"):
        published_hashes("gpt-oss-20b", "hf")


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert "neither gpt-oss-20b" in said(capsys, "gpt-oss-7b", *out)
    with fake_hub(FILES, (REPOSITORY,), tmp_path / "cache", monkeypatch):
        assert "Accept its terms" in said(capsys, "gpt-oss-20b", *out)
        assert "is not on the Hub" in said(capsys, "gpt-oss-120b", *out)
    with fake_hub(FILES, (), tmp_path / "cache", monkeypatch):
        full = OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(module, "sha256_of", _raising(full))
        assert "is full. Free some space" in said(capsys, "gpt-oss-20b", *out)
    refused = OSError("[Errno 111] Connection refused")
    monkeypatch.setattr(module, "_listed", _raising(refused))
    assert "Check the connection" in said(capsys, "gpt-oss-20b", *out)


def _raising(error: Exception):
    def fail(*_: object) -> None:
        raise error

    return fail
