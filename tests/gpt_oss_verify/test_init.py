"""`init`: entries that load, in files that keep their contents and never contain a key."""

import asyncio
import difflib
import io
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from background import in_background
from hypothesis import given, settings
from hypothesis import strategies as st
from mock_provider import MockProvider, Received, raw, status, well_behaved, write_json
from replies import MODEL

from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.providers.entries import load_providers, looks_like_key, own_providers
from harness.providers.yaml_files import with_entry
from harness.transport.retry import RetryPolicy

KEY = "sk-proj-Abc123Def456Ghi789"
PRINTABLE = st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"])
ENTRY = {"base_url": "http://h/v1", "model": "m", "apis": ["chat"]}
MINE = Path("providers.yaml")
CHECKOUT = Path(__file__).parents[2] / MINE
BASE = ["init", "mine", "--base-url", "http://127.0.0.1:1/v1", "--model", "m", "--offline"]
OWN = """\
# Ours.
gate: {max_invalid: 0}
providers:   # all of them
    first:
        base_url: http://first/v1   # moved in May
        model: &model m
        apis:
        - chat
        headers:
            X-Note: >-
                two
                lines

    # The second is slow.
    second:
        base_url: http://second/v1
        model: *model
        apis: [chat]
        # Nothing follows.
# The end.
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder_and_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


def test_an_address_without_v1_names_the_one_that_works(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    async def get(request: Received, writer: asyncio.StreamWriter) -> None:
        found = request.path == "/v1/models"
        write_json(writer, {"data": [{"id": MODEL}]} if found else {}, 200 if found else 404)

    mock.get = get
    address = mock.base_url.removesuffix("/v1")
    assert run(["init", "mine", "--base-url", address]) == 3
    assert f"pass --base-url {address}/v1" in capsys.readouterr().err
    assert not MINE.exists()


@pytest.fixture
def mock() -> Iterator[MockProvider]:
    with in_background(MockProvider()) as running:
        yield running


def at(mock: MockProvider, *more: str) -> list[str]:
    return ["init", "mine", "--base-url", mock.base_url, *more]


# --- The text of the file


def test_an_entry_is_added_after_the_others() -> None:
    added = "    mine:\n      base_url: http://h/v1\n      model: m\n      apis: [chat]\n"
    written = with_entry(OWN, "f", "mine", ENTRY)
    assert written.replace(f"\n{added}", "") == OWN
    assert list(yaml.safe_load(written)["providers"]) == ["first", "second", "mine"]


@pytest.mark.parametrize("name", ["first", "second"])
def test_an_entry_is_replaced_in_place(name: str) -> None:
    written = with_entry(OWN.replace("*model", "m2").replace("&model ", ""), "f", name, ENTRY)
    content = yaml.safe_load(written)
    assert list(content["providers"]) == ["first", "second"]
    assert content["providers"][name] == ENTRY
    kept = {"# Ours.", "# all of them", "# The second is slow.", "# The end."}
    assert all(comment in written for comment in kept)
    assert ("# moved in May" in written) == (name != "first")


def test_every_entry_that_ships_can_be_replaced() -> None:
    shipped = CHECKOUT.read_text(encoding="utf-8")
    for name in load_providers():
        assert yaml.safe_load(with_entry(shipped, "f", name, ENTRY))["providers"][name] == ENTRY


@pytest.mark.parametrize(
    "text",
    [
        "providers: {a: {base_url: 'http://a/v1', model: m, apis: [chat]}}\n",
        "providers: {}\n",
        OWN,  # the second entry takes its model from the first
    ],
)
def test_files_that_cannot_be_extended_safely_are_left_alone(text: str) -> None:
    with pytest.raises(ConfigurationError, match="below `providers:` yourself:\n  first:\n"):
        with_entry(text, "f", "first", ENTRY)


@settings(max_examples=40)  # YAML is read without its C library, 20 ms an example
@given(st.text(PRINTABLE, min_size=1, max_size=100), st.text(PRINTABLE, min_size=1))
def test_any_name_and_model_are_read_back(name: str, model: str) -> None:
    entry = {**ENTRY, "model": model}
    written = with_entry("providers:\n  other:\n    model: x\n", "f", name, entry)
    assert yaml.safe_load(written)["providers"][name] == entry


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (KEY, True),
        ("gsk_a1b2c3d4e5f6g7h8i9j0", True),
        ("hf_AbCdEfGhIjKlMnOpQr", True),
        ("0123456789abcdef0123456789abcdef", True),
        ("123e4567-e89b-12d3-a456-426614174000", True),
        ("MY_COMPANY_INFERENCE_API_KEY_2026", False),
        ("openai/gpt-oss-120b", False),
        ("accounts/fireworks/models/gpt-oss-120b", False),
        ("hf_gpt_oss_120b_small", False),
        ("https://inference.example.com/v1", False),
        ("gpt-oss-120b-mxfp4-2026-11-20", False),
        ("responses", False),
    ],
)
def test_keys_are_distinguished_from_names(text: str, key: bool) -> None:
    assert looks_like_key(text) is key


# --- From flags


def test_a_new_file_has_only_the_new_entry(capsys: pytest.CaptureFixture[str]) -> None:
    shipped = load_providers()
    limits = ("--rpm", "60", "--concurrency", "4", "--api-key-env", "MINE_KEY", "--apis", "chat")
    assert run([*BASE, *limits]) == 0
    assert "gpt-oss-verify --provider mine" in capsys.readouterr().out
    assert list(own_providers()) == ["mine"]
    assert MINE.read_text(encoding="utf-8").count("\n") == 9
    loaded = load_providers()
    mine = loaded["mine"]
    assert loaded == shipped | {"mine": mine}
    assert (mine.rpm, mine.concurrency, mine.api_key_env, mine.apis) == (
        60,
        4,
        "MINE_KEY",
        ("chat",),
    )


def test_an_existing_file_keeps_its_contents(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text(OWN, encoding="utf-8")
    real.chmod(0o640)
    MINE.symlink_to(real)
    assert run(BASE) == 0
    assert MINE.is_symlink()
    assert real.read_text(encoding="utf-8").startswith(OWN.partition("# The end.")[0])
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert list(own_providers()) == ["first", "second", "mine"]


def test_an_entry_is_not_overwritten_unless_forced(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(BASE) == 0
    before = MINE.read_text(encoding="utf-8")
    assert run([*BASE, "--model", "other"][:-2]) == 2
    assert "with --force" in capsys.readouterr().err
    assert MINE.read_text(encoding="utf-8") == before
    assert run([*BASE[:5], "other", "--offline", "--force"]) == 0
    assert load_providers()["mine"].model == "other"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --name and --base-url"),
        (["mine"], "Give --base-url, or run init in a terminal"),
        (["mine", "--base-url", "http://h/v1", "--offline"], "Give --model"),
        (["mine", "--base-url", "h/v1", "--model", "m"], "is not a URL"),
        (["mine", "--base-url", "http://[::1", "--model", "m"], "is not a URL"),
        (["mine", "--base-url", "http://h/v1", "--apis", "smoke"], "--apis takes"),
        (["mine", "--base-url", "http://h/v1", "--rpm", "0"], "for --rpm. Must be >= 1"),
        (["mine", "--base-url", "http://h/v1", "--api-key-env", KEY], "looks like a key"),
        (["mine", "--base-url", "http://h/v1", "--model", KEY], "looks like a key"),
        (["mine", "--base-url", KEY, "--model", "m"], "looks like a key"),
        ([KEY, "--base-url", "http://h/v1"], "looks like a key"),
    ],
)
def test_invalid_arguments_are_rejected_without_printing_keys(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert KEY not in said
    assert not MINE.exists()


# --- Detection by requests


def test_model_and_apis_are_detected(mock: MockProvider) -> None:
    assert run(at(mock)) == 0
    mine = load_providers()["mine"]
    assert (mine.model, mine.apis) == (MODEL, ("responses", "chat"))


def test_an_unsupported_api_is_left_out(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    async def only_chat(request: Received, writer: object) -> None:
        gone = status(404, "no such path")
        answer = well_behaved if request.path.endswith("/chat/completions") else gone
        await answer(request, writer)  # type: ignore[arg-type]

    mock.always = only_chat
    assert run(at(mock)) == 0
    assert load_providers()["mine"].apis == ("chat",)
    assert "lists only chat: provider mine does" in capsys.readouterr().err


def test_a_provider_that_supports_neither_api_is_an_error(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    mock.always = status(404, "no such path")
    assert run(at(mock)) == 3
    assert "supports neither API" in capsys.readouterr().err
    assert not MINE.exists()
    assert run(at(mock, "--apis", "chat")) == 0


@pytest.mark.parametrize(
    ("models", "why"), [(["a", "b"], "the provider lists a, b"), ([], "does not list its models")]
)
def test_without_exactly_one_listed_model_a_name_is_required(
    models: list[str], why: str, mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    mock.models = models
    assert run(at(mock)) == 2
    said = capsys.readouterr().err
    assert "Give --model" in said
    assert why in said


def test_without_an_answer_and_a_model_nothing_is_written_and_nothing_else_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["init", "mine", "--base-url", "http://127.0.0.1:1/v1"]) == 3
    said = capsys.readouterr().err
    assert "nothing is written. Start the provider, or give --model" in said
    assert "The entry is written" not in said
    assert not MINE.exists()


def test_in_a_checkout_an_entry_is_added_to_the_shipped_ones() -> None:
    shutil.copy(CHECKOUT, MINE)
    assert run(["init", "of-a-test", *BASE[2:]]) == 0
    before, after = (path.read_text("utf-8").splitlines() for path in (CHECKOUT, MINE))
    added = [line for line in difflib.ndiff(before, after) if line[:2] != "  "]
    assert added[:2] == ["+ ", "+   of-a-test:"]
    assert all(line.startswith("+ ") for line in added)
    assert run(["init", "groq", *BASE[2:]]) == 2


def test_the_status_of_models_is_named(
    mock: MockProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.0)
    page = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>"
    for answer, code, why in (
        (status(500), 2, "with status 500"),
        (status(401), 3, "refuses access: 401"),
        (raw(page), 3, "a firewall or gateway"),
        (raw(page.replace(b"403 Forbidden", b"200 OK")), 3, "is a web page (status 200)"),
    ):
        mock.get = answer
        assert run(at(mock)) == code
        assert why in capsys.readouterr().err
    assert not MINE.exists()


def test_an_entry_is_written_even_if_its_key_is_unset_or_rejected(
    mock: MockProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mock.api_key = "right"
    given = at(mock, "--model", "m", "--api-key-env", "MINE_KEY", "--force")
    assert run(given) == 0
    assert "provider mine: the environment variable MINE_KEY is not set" in capsys.readouterr().err
    monkeypatch.setenv("MINE_KEY", KEY)
    assert run(given) == 0
    said = capsys.readouterr().err
    assert "check the key in MINE_KEY" in said
    assert KEY not in said
    assert KEY not in MINE.read_text(encoding="utf-8")


# --- By questions


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def answered(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in answers)))


def test_only_the_address_is_asked_for_if_the_provider_tells_the_rest(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mock.models = ["other", MODEL]  # one of them is a gpt-oss
    answered(monkeypatch, "nonsense", mock.base_url)
    assert run(["init"]) == 0
    mine = load_providers()["127.0.0.1"]
    assert (mine.base_url, mine.model, mine.apis) == (mock.base_url, MODEL, ("responses", "chat"))
    assert mine.api_key_env is None
    assert "'nonsense' is not a URL" in capsys.readouterr().err


def test_of_several_models_one_is_asked_for(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mock.models = [MODEL, f"{MODEL}-2"]
    answered(monkeypatch, KEY, f"{MODEL}-2")
    assert run(at(mock)) == 0
    assert load_providers()["mine"].model == f"{MODEL}-2"
    assert capsys.readouterr().err.count("looks like a key") == 1


@pytest.mark.parametrize("key", ["right", "wrong"])
def test_a_key_is_asked_for_if_the_provider_refuses_access_without_one(
    key: str, mock: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock.api_key = "right"
    monkeypatch.setenv("MINE_KEY", key)
    answered(monkeypatch, KEY, "not a name", "MINE_KEY", *([] if key == "right" else ["m"]))
    assert run(at(mock)) == 0
    mine = load_providers()["mine"]
    assert (mine.api_key_env, mine.model) == ("MINE_KEY", MODEL if key == "right" else "m")


def test_input_that_ends_early_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(monkeypatch, "http://127.0.0.1:1/v1")  # which lists no models
    assert run(["init"]) == 2
    assert "The input ended before all questions were answered" in capsys.readouterr().err


# --- providers NAME


def test_a_named_provider_is_contacted(
    mock: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(at(mock, "--apis", "chat")) == 0
    assert run(["providers", "mine"]) == 0
    assert "mine answers as" in capsys.readouterr().out
    mock.always = status(401)
    assert run(at(mock, "--apis", "chat", "--force")) == 0
    assert "refuses access" in capsys.readouterr().err
    assert run(["providers", "mine"]) == 3
    assert run(["providers", "reference"]) == 2
    assert "launches reference" in capsys.readouterr().err
