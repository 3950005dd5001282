"""providers.yaml: valid entries, and one-sentence errors for invalid ones."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import ConfigurationError
from harness.providers.entries import (
    access,
    adhoc_provider,
    changed,
    find_provider,
    load_providers,
    own_providers,
)
from harness.records.conditions import BOTH_APIS

ENTRY: dict[str, Any] = {"base_url": "http://localhost:8000/v1/", "model": "m", "apis": ["chat"]}


def written(folder: Path, **changes: Any) -> Path:
    entry = {key: value for key, value in {**ENTRY, **changes}.items() if value is not ...}
    path = folder / "some.yaml"
    path.write_text(yaml.safe_dump({"providers": {"mine": entry}}), encoding="utf-8")
    return path


def test_an_entry_without_apis_has_those_of_the_command_line(tmp_path: Path) -> None:
    assert load_providers(written(tmp_path, apis=...))["mine"].apis == BOTH_APIS


def test_a_full_entry_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        base_url="http://127.0.0.1:{port}/v1/",
        apis=["responses", "chat"],
        api_key_env="MY_KEY",
        headers={"X-Team": "${TEAM}"},
        extra_body={"provider": {"only": ["x"]}},
        timeout=30,
        concurrency=4,
        rpm=60,
        tpm=1000,
        launch={"command": "serve 'my model' --port {port}", "env": {"A": "1"}},
    )
    provider = load_providers(path)["mine"]
    assert (provider.name, provider.base_url) == ("mine", "http://127.0.0.1:{port}/v1")
    assert provider.apis == ("responses", "chat")
    assert provider.launch.command == ("serve", "my model", "--port", "{port}")
    assert provider.info().header_names == ("X-Team",)
    assert "TEAM" not in provider.info().model_dump_json()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"base_url": ...}, "providers.mine.base_url is missing"),
        ({"model": ""}, "providers.mine.model: string should have at least 1 character"),
        ({"base_url": "localhost:8000"}, "providers.mine.base_url: 'localhost:8000' is not a URL"),
        ({"base_url": "http://[::1"}, "is not a URL"),
        ({"base_url": "http://ex ample/v1"}, "is not a URL"),
        ({"base_url": "http://h:99999/v1"}, "is not a URL"),
        ({"base_url": "http://me:pw@h/v1"}, "contains a user name or password"),
        ({"base_url": "http://h/v1?key=sk-abc"}, "has a ? or # part"),
        ({"base_url": "http://h/v1/chat/completions/"}, "the base URL is http://h/v1"),
        ({"base_url": "http://h:{port}/v1"}, "there is no launch entry"),
        ({"apis": []}, "providers.mine.apis: is empty"),
        ({"apis": ["chat", "chat"]}, "lists an API twice"),
        (
            {"apis": ["completions"]},
            "providers.mine.apis.0: input should be 'responses', 'chat' or 'harmony'",
        ),
        ({"api_key_env": "sk-abc/123"}, "the name of an environment variable, never a key"),
        ({"api_key": "x"}, "unknown key providers.mine.api_key; did you mean 'api_key_env'?"),
        ({"zzz": "x"}, "unknown key providers.mine.zzz; choose from base_url, model, apis"),
        ({"headers": {"X A": "b"}}, "providers.mine.headers: 'X A' is not the name of an HTTP"),
        ({"headers": {"X-A": "b\nX-B: c"}}, "the value of X-A has a character"),
        ({"headers": {"Content-Length": "5"}}, "they must not set Content-Length"),
        ({"timeout": "soon"}, "providers.mine.timeout: input should be a valid number"),
        ({"timeout": float("inf")}, "providers.mine.timeout: input should be a finite number"),
        (
            {"timeout": 0, "rpm": 0},
            "2 errors: (1) providers.mine.timeout: input should be greater than 0; (2) ",
        ),
        ({"concurrency": 0}, "providers.mine.concurrency"),
        ({"launch": {}}, "providers.mine.launch.command is missing"),
        ({"launch": {"command": ""}}, "providers.mine.launch.command"),
        ({"launch": {"comand": "x", "command": "x"}}, "did you mean 'command'?"),
        ({"extra_body": {"a": 10**30}}, "providers.mine.extra_body: cannot be sent as JSON"),
        ({"headers": {"X": 3}}, "providers.mine.headers.X: input should be a valid string"),
    ],
)
def test_unusable_entries_are_rejected(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(ConfigurationError) as caught:
        load_providers(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert problem in message
    assert "\n" not in message
    assert "sk-abc" not in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "needs the key `providers`"),
        ("- a", "needs the key `providers`"),
        ("providers: [a]", "needs the key `providers`"),
        ("providers: {}\nprovider: {}", "unknown key 'provider'"),
        ("providers: {a: 3}", "providers.a must be a mapping"),
        ("providers: {a: {b: [}", "line 1, column 21"),
        ("providers:\n  a:\n    model: m\n   apis: [chat]", "check the indentation of this line"),
        ("providers:\n\ta: {}", "indent with spaces"),
        ("providers: {a: {model: 2024-13-45}}", "month must be in 1..12"),
        (f"providers: {{a: {{rpm: {'9' * 5000}}}}}", "contains an invalid value"),
        (f"providers: {'[' * 3000}", "contains an invalid value"),
        ("providers: {a: {timeout: !!bool x}}", "contains an invalid value"),
        ('providers: {a: {timeout: !!int ""}}', "contains an invalid value"),
        ("providers: {a: {timeout: !!timestamp x}}", "contains an invalid value"),
        ("providers: {a: {? {2020-01-01: 2} : 3}}", "contains an invalid value"),
        ("providers:\n  a: {}\n  a: {}", 'line 3, column 3: duplicate key "a"'),
    ],
)
def test_unusable_files_are_rejected(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_providers(path)
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


def test_entries_may_share_settings(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "providers:\n"
        "  a: &a {base_url: 'http://h/v1', model: m, apis: [chat], rpm: 6}\n"
        "  b: {<<: *a, model: other}\n"
    )
    assert load_providers(path)["b"].model == "other"
    assert load_providers(path)["b"].rpm == 6


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("serve m --api-key sk-abc --port 1", "serve m --api-key [redacted] --port 1"),
        ("serve --api-key=sk-abc --max-tokens 9", "serve --api-key=[redacted] --max-tokens 9"),
        ("serve --hf-token sk-abc --tokenizer t", "serve --hf-token [redacted] --tokenizer t"),
        ("serve --api-key-env NAME", "serve --api-key-env NAME"),
    ],
)
def test_a_key_in_a_command_is_not_recorded(tmp_path: Path, command: str, shown: str) -> None:
    provider = load_providers(written(tmp_path, launch={"command": command}))["mine"]
    assert provider.info().launch_command == tuple(shown.split())
    assert provider.launch.command == tuple(command.split())


def test_unreadable_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no file"):
        load_providers(tmp_path / "none.yaml")
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load_providers(path)


def test_an_unknown_name_is_reported_with_a_suggestion(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert find_provider("mine", path).model == "m"
    with pytest.raises(ConfigurationError, match="did you mean 'mine'"):
        find_provider("mien", path)
    added = r"add it with `gpt-oss-verify init x --base-url URL`, or choose from ref.*, mine"
    with pytest.raises(ConfigurationError, match=added):
        find_provider("x", path)
    with pytest.raises(ConfigurationError, match="is an address: give it with --base-url"):
        find_provider("http://localhost:8000/v1", path)


def test_the_file_in_the_current_folder_overlays_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = load_providers()
    assert {"reference", "vllm", "ollama", "groq", "openai-grader"} <= shipped.keys()
    assert own_providers() == {}
    written(tmp_path).rename(tmp_path / "providers.yaml")
    assert list(own_providers()) == ["mine"]
    assert load_providers() == shipped | own_providers()
    text = (tmp_path / "providers.yaml").read_text(encoding="utf-8")
    (tmp_path / "providers.yaml").write_text(text.replace("mine:", "vllm:"), encoding="utf-8")
    assert load_providers()["vllm"].model == "m"
    assert load_providers().keys() == shipped.keys()


def test_a_provider_is_built_from_the_command_line() -> None:
    provider = adhoc_provider("http://localhost:1234/v1", "m", ["responses"])
    assert provider.name == "localhost-1234"
    with pytest.raises(ConfigurationError, match=r"^command line: base_url: 'a:80/v1' is not"):
        adhoc_provider("a:80/v1", "m", ["chat"])
    assert changed(provider, model="n", concurrency=2).model == "n"
    with pytest.raises(ConfigurationError, match="concurrency"):
        changed(provider, concurrency=0)


def test_access_expands_environment_variables() -> None:
    provider = changed(
        adhoc_provider("http://h/v1", "m", ["chat"], "KEY"), headers={"X-A": "a ${ORG} ${KEY}"}
    )
    given = access(provider, {"KEY": " secret-key\n", "ORG": "acme"})
    assert given.headers == {"X-A": "a acme secret-key", "Authorization": "Bearer secret-key"}
    assert given.secrets == {"secret-key", "acme"}
    assert "secret-key" not in repr(given)
    with pytest.raises(ConfigurationError, match="variable ORG is not set"):
        access(provider, {"KEY": "secret-key"})


def test_a_custom_header_replaces_the_default_one() -> None:
    provider = changed(
        adhoc_provider("http://h/v1", "m", ["chat"], "KEY"), headers={"Authorization": "Key ${KEY}"}
    )
    assert access(provider, {"KEY": "k"}).headers == {"Authorization": "Key k"}
