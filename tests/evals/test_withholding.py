"""A published run on gated questions contains no question texts and yields the same analysis."""

import asyncio
import csv
import gzip
import json
import re
import shutil
from importlib import resources
from pathlib import Path

import pytest
from background import in_background
from mock_provider import MockProvider, Received, error, write_chunk, write_head, write_json
from quiz import MODEL, draw, reply
from replies import Reply, blocks, whole

from evals.noted import note, noted_letters
from gpt_oss_verify.app import run

QUOTE = "To quote it: "


async def talkative(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answers that quote the question; some are refused, cut off, unclear or errors."""
    body = request.body or {}
    prompt = str((body.get("messages") or body["input"])[-1]["content"])
    luck = draw(f"{prompt}/luck")
    text = f"{QUOTE}{prompt}\n\n{reply(body, 1, 0.6)}"
    if luck < 0.1:
        write_json(writer, error(f"cannot answer {prompt}"), 400)
        return
    if luck < 0.25:
        text = f"I'm sorry, but I can't answer that: {prompt}"
    elif luck < 0.4:
        text = f"{QUOTE}{prompt}\n\nIt may be A or B."
    said = Reply(text=text, reasoning=f"I think of {prompt}")
    body_sent = whole(said, chat=request.is_chat)
    if request.is_chat and 0.4 < luck < 0.5:
        body_sent["choices"][0]["finish_reason"] = "length"
    if body.get("stream"):
        write_head(writer, {"Content-Type": "text/event-stream"})
        for block in blocks(said, chat=request.is_chat)[: 2 if luck > 0.95 else None]:
            write_chunk(writer, f"{block}\n\n".encode())
            await asyncio.sleep(0.001)
        write_chunk(writer, b"")
        return
    write_json(writer, body_sent)


@pytest.mark.parametrize(
    "how", [("chat",), ("chat", "--streaming"), ("responses",), ("responses", "--streaming")]
)
def test_a_published_run_contains_no_gated_texts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("replies.pieces", lambda text: re.findall(r"(?s).{1,50}", text))
    sample = resources.files("evals") / "gpqa" / "samples.csv"
    with resources.as_file(sample) as path:
        shutil.copy(path, tmp_path / "gpqa.csv")
    with (tmp_path / "gpqa.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with in_background(MockProvider(always=talkative, models=[MODEL])) as mock:
        options = ["--eval", "gpqa", "--data", str(tmp_path / "gpqa.csv"), "-k", "2"]
        whom = ["--base-url", mock.base_url, "--model", MODEL, "--api", *how]
        run(["eval", *whom, *options, "--max-tokens", "500", "--json"])
    first = json.loads(capsys.readouterr().out)
    (folder,) = (tmp_path / "runs").iterdir()
    found = first["results"][0]["outcomes"]
    timed = first["results"][0]["latency"]["tokens_per_second"]
    assert (timed is not None) == ("--streaming" in how)
    assert {"correct", "wrong", "unread", "refused", "provider_error"} <= set(found)

    assert run(["site", str(folder), "--out", "site"]) == 0
    published = tmp_path / "site" / folder.name
    content = "".join(
        (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes()).decode()
        for path in sorted(published.iterdir())
    )
    capsys.readouterr()
    for row in rows:
        for name in ("Question", "Correct Answer", "Incorrect Answer 1"):
            if len(row[name]) > 12:
                assert row[name] not in content
                assert json.dumps(row[name], ensure_ascii=False)[1:-1] not in content
    assert QUOTE not in content
    assert str(tmp_path) not in content

    assert run(["recheck", str(published), "--json"]) == first["exit_code"]
    again = json.loads(capsys.readouterr().out)
    for one in (first, again):
        one["run"] = ""
        one["results"][0]["dataset"] = {}
    assert again == first
    assert run(["site", str(published), "--out", "again"]) == 0


@pytest.mark.parametrize("answer", ["C", None])
@pytest.mark.parametrize("theirs", ["B", None])
def test_a_note_contains_only_the_extracted_letters(answer: str | None, theirs: str | None) -> None:
    text = note("Some question? Answer: C", answer, theirs)
    assert "question" not in text
    assert noted_letters(f"I'm sorry, but I can't {text}") == (answer, theirs)
    assert noted_letters("Answer: C") == (None, None)


def test_a_first_character_other_than_a_to_d_is_not_a_letter() -> None:
    assert noted_letters(note("It is", None, "I")) == (None, None)
