"""The requests that real clients send by default, as `make clients` recorded them."""

import json
from pathlib import Path

import httpx
import pytest
from scripted import ANSWER

RECORDED = Path(__file__).with_name("client_requests.jsonl")
ROWS = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]


def name(row: dict) -> str:
    return f"{row['client']} {row['api']} {row['turn']}"


def refused_member(body: dict) -> str | None:
    """The member that the server has to refuse, as OpenAI's API does."""
    if body.get("previous_response_id"):
        return "previous_response_id"
    items = [item for item in body.get("input") or () if isinstance(item, dict)]
    at = next((at for at, item in enumerate(items) if item.get("type") == "item_reference"), None)
    if at is not None:
        return f"input[{at}].id"
    return None


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_the_server_accepts_what_clients_send_by_default(row, client, engine):
    engine.script = lambda *_: ANSWER
    path = "chat/completions" if row["api"] == "chat" else "responses"
    reply = httpx.post(f"{client.base_url}{path}", json=row["body"], timeout=60)
    wanted = refused_member(row["body"])
    if wanted is None:
        assert reply.status_code == 200, reply.text
        return
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["param"] == wanted
    assert error["message"]


def test_the_recorded_requests_are_those_of_the_clients_with_rows():
    measured = Path("harness/rules/clients/measured.csv").read_text("utf-8").splitlines()[1:]
    assert {row["client"] for row in ROWS} == {line.partition(",")[0] for line in measured}
