"""Downloads of checkpoints, from a local fake Hub."""

import errno

import huggingface_hub
from fake_hub import fake_hub

from reference_engine.__main__ import main

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
    last = capsys.readouterr().err.splitlines()[-1]  # after a progress bar
    assert last.startswith("error: ")
    return last


def weights(requests: list[str]) -> list[str]:
    return [line for line in requests if line.startswith("GET") and "safetensors" in line]


def test_only_necessary_files_are_downloaded_and_only_once(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    with fake_hub(FILES, (), tmp_path / "cache", monkeypatch) as requests:
        assert main(["download", "gpt-oss-20b", "--out", str(out)]) == 0
        assert capsys.readouterr().out == f"{out}\n"
        found = {path.name for path in out.iterdir() if path.is_file()}
        assert found == {
            "config.json", "tokenizer.json", "chat_template.jinja",
            "model-00000-of-00001.safetensors", "model-00001-of-00001.safetensors",
            "model.safetensors.index.json",
        }  # fmt: skip
        for name in found:
            assert (out / name).read_text(encoding="utf-8") == FILES[f"{REPOSITORY}/{name}"]
        assert len(weights(requests)) == 3
        (out / "model-00001-of-00001.safetensors").unlink()
        assert main(["download", "gpt-oss-20b", "--out", str(out)]) == 0
        assert weights(requests)[3:] == [
            f"GET /{REPOSITORY}/resolve/{'0' * 40}/model-00001-of-00001.safetensors"
        ]
        assert main(["download", "gpt-oss-20b", "--out", str(out), "--layout", "original"]) == 0
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


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert "neither gpt-oss-20b" in said(capsys, "gpt-oss-7b", *out)
    with fake_hub(FILES, (REPOSITORY,), tmp_path / "cache", monkeypatch):
        assert "Accept its terms" in said(capsys, "gpt-oss-20b", *out)
        assert "the Hub" in said(capsys, "gpt-oss-120b", *out)
    with fake_hub(FILES, (), tmp_path / "cache", monkeypatch):
        for error, words in (
            (OSError(errno.ENOSPC, "No space left on device"), "is full. Free some space"),
            (OSError("[Errno 111] Connection refused"), "Check the connection"),
        ):

            def fail(*_: object, error=error, **__: object) -> None:
                raise error

            monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
            assert words in said(capsys, "gpt-oss-20b", *out)
