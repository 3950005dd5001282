"""A recorded and imported exchange has the same findings as the sampled one."""

import json
from pathlib import Path

import pytest
from background import in_background
from healthy import provider_of, rollout
from judged_replies import ANSWER, BY_FAULT, CALL
from mock_provider import MockProvider
from recordings import WRITERS, Writer
from replies import MODEL, Reply
from written import faulty

from gpt_oss_verify.app import run
from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import BOTH_APIS
from harness.records.rollouts import Rollout
from harness.records.scores import Score
from harness.rules.measured import measured_score
from harness.run.cases import Case
from harness.run.run_log import read_rollouts
from harness.tasks.recorded import ImportedTraffic, not_judged, traffic_info
from harness.traffic.conversations import read_traffic

RECORDED = [
    *(rollout([reply], api=api, streaming=streaming)
      for reply in (ANSWER, CALL) for api in BOTH_APIS for streaming in (False, True)),
    *{found: faulty(kind({}, reply), fault)
      for (kind, reply), faults in BY_FAULT.items() for fault, found in faults.items()
      if fault != "plain-text"}.values(),  # a recorded stream is known by its content
]  # fmt: skip
"""Healthy replies, and of those with a fault one for each set of findings."""

ANSWERED = {"outcome": "answered"}


@pytest.fixture(scope="module")
def expected() -> list[Score]:
    """The scores of the recordings as they were sampled."""
    return [measured_score(parse_rollout(each), ANSWERED) for each in RECORDED]


ONLY_IN_RECORDINGS = frozenset({"prompt.cut", "clients.refused_form"})
"""Probes judge the same in live traffic."""


def comparable(score: Score, but: frozenset[str], *, texts: bool) -> list[object]:
    """Findings without the id of the record, and without excerpts of JSON if it was rewritten."""
    hidden = {"record": ""} | ({} if texts else {"got": "", "expected": "", "event": None})
    return sorted(
        repr((each.id, each.message, each.evidence.model_copy(update=hidden)))
        for each in score.findings
        if each.id not in but
    )


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_every_defect_is_found_in_every_format(
    writer: Writer, expected: list[Score], tmp_path: Path
) -> None:
    assert len(RECORDED) > 80
    compared = 0
    for native, sampled in zip(RECORDED, expected, strict=True):
        try:
            path = writer(tmp_path, native.exchanges)
        except ValueError:
            continue  # This recorder cannot store the body because it is not JSON.
        imported = read_traffic([path])
        (one,) = imported.rollouts
        response = one.exchanges[0].response
        if response is not None and not response.complete:
            continue  # A recording does not show which side ended the stream.
        lost = not_judged(one.recording.missing)
        task = ImportedTraffic(traffic_info(imported.rollouts, imported.info))
        score = task.score(parse_rollout(one))
        texts = "framing" not in one.recording.lost
        found = comparable(score, ONLY_IN_RECORDINGS, texts=texts)
        assert found == comparable(sampled, lost, texts=texts)
        assert score.applicable - ONLY_IN_RECORDINGS == sampled.applicable - lost
        compared += 1
    assert compared > 75


def misnamed(case: Case) -> list[Reply]:
    return [Reply(call=(f"functions.{case.tool_name}", json.dumps(case.expected_arguments)))]


@pytest.mark.parametrize("script", [None, misnamed], ids=["healthy", "misnamed"])
def test_a_recorded_run_has_the_same_results(
    script: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    handler = provider_of(script) if script else provider_of()  # type: ignore[arg-type]
    with in_background(MockProvider(always=handler, models=[MODEL])) as mock:
        place = ["--base-url", mock.base_url, "--model", MODEL, "--json"]
        run([*place, "--suite", "tools", "-n", "3", "-k", "1"])
    native = json.loads(capsys.readouterr().out)
    sampled = list(read_rollouts(Path(native["run"])))
    path = WRITERS[0](tmp_path, (each for one in sampled for each in one.exchanges))
    assert run(["import", str(path), "--provider", "recorded", "--json"]) == 0
    imported = json.loads(capsys.readouterr().out)
    assert imported["verdict"]["decision"] is None
    assert joined(list(read_rollouts(Path(imported["run"])))) == joined(sampled)
    not_judged = {each["id"] for each in imported["checks"] if each["status"] == "not_verifiable"}
    not_judged |= ONLY_IN_RECORDINGS
    assert statuses(imported, not_judged) == statuses(native, not_judged)
    assert (script is None) is not any(s == "failed" for s in statuses(native, set()).values())


def joined(rollouts: list[Rollout]) -> list[int]:
    return sorted(len(each.exchanges) for each in rollouts)


def statuses(summary: dict[str, list[dict[str, str]]], but: set[str]) -> dict[str, str]:
    checks = (each for each in summary["checks"] if each["id"] not in but)
    return {each["id"]: each["status"] for each in checks if each["status"] != "skipped"}
