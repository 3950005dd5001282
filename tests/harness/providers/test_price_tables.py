"""Prices of gpt-oss in tables of installed packages, which stand-ins replace here."""

import json
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.providers import price_tables
from harness.providers.entries import Prices, adhoc_provider, own_providers
from harness.providers.price_tables import table_prices

GROQ = "https://api.groq.com/openai/v1"
MODEL = "openai/gpt-oss-20b"
SOLD = {"input_cost_per_token": 7.5e-08, "output_cost_per_token": 3e-07}
ROWS = {
    "groq/openai/gpt-oss-20b": {
        **SOLD,
        "cache_read_input_token_cost": 3.75e-08,
        "litellm_provider": "groq",
    },
    "groq/openai/gpt-oss-120b": {**SOLD, "litellm_provider": "groq"},
    "together_ai/openai/gpt-oss-20b": {**SOLD, "litellm_provider": "together_ai"},
    "fireworks_ai/gpt-oss-20b": {**SOLD, "litellm_provider": "fireworks_ai"},
    "fireworks_ai/accounts/fireworks/models/gpt-oss-20b": {
        **SOLD,
        "input_cost_per_token": 9e-08,
        "litellm_provider": "fireworks_ai",
    },
}


@pytest.fixture
def litellm(tmp_path, monkeypatch) -> None:
    path = tmp_path / "litellm/model_prices_and_context_window_backup.json"
    path.parent.mkdir()
    path.write_text(json.dumps(ROWS))
    package = SimpleNamespace(version="1.110.2", locate_file=lambda name: Path(tmp_path, name))
    monkeypatch.setattr(price_tables, "distribution", lambda name: package)


@pytest.mark.usefixtures("litellm")
def test_the_row_of_the_host_and_the_model_is_taken_with_its_version():
    found = table_prices("litellm", adhoc_provider(GROQ, MODEL, ["chat"]))
    assert found.prices == Prices(input=0.075, output=0.3, cached_input=0.0375)
    assert found.source == "litellm 1.110.2, groq/openai/gpt-oss-20b"
    together = adhoc_provider("https://api.together.xyz/v1", MODEL, ["chat"])
    assert table_prices("litellm", together).prices == Prices(input=0.075, output=0.3)


@pytest.mark.usefixtures("litellm")
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://localhost:8000/v1", "1.110.2 has no prices of openai/gpt-oss-20b"),
        ("https://api.fireworks.ai/inference/v1", "has several prices"),
    ],
)
def test_a_table_without_one_price_is_refused(address, said):
    with pytest.raises(ConfigurationError, match=said):
        table_prices("litellm", adhoc_provider(address, MODEL, ["chat"]))


def test_genai_prices_finds_its_own_row(monkeypatch):
    library = ModuleType("genai_prices")
    library.Usage = dict  # type: ignore[attr-defined]

    def calc_price(usage, model, *, provider_api_url):
        if "groq" not in provider_api_url:
            raise LookupError
        each = SimpleNamespace(id="groq"), SimpleNamespace(id=model)
        given = Decimal("0.0375") if "cache_read_tokens" in usage else Decimal("0.075")
        return SimpleNamespace(
            provider=each[0], model=each[1], input_price=given, output_price=Decimal("0.3")
        )

    library.calc_price = calc_price  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "genai_prices", library)
    package = SimpleNamespace(version="0.2.3")
    monkeypatch.setattr(price_tables, "distribution", lambda name: package)
    found = table_prices("genai-prices", adhoc_provider(GROQ, MODEL, ["chat"]))
    assert found.prices == Prices(input=0.075, output=0.3, cached_input=0.0375)
    assert found.source == "genai-prices 0.2.3, groq/openai/gpt-oss-20b"
    with pytest.raises(ConfigurationError, match="no prices"):
        table_prices("genai-prices", adhoc_provider("http://localhost/v1", MODEL, ["chat"]))


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(ConfigurationError, match="pip install genai-prices"):
        table_prices("genai-prices", adhoc_provider(GROQ, MODEL, ["chat"]))


@pytest.mark.usefixtures("litellm")
def test_init_writes_the_prices_and_says_where_they_are_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place = ["--base-url", GROQ, "--model", MODEL, "--offline", "--prices", "litellm"]
    assert run(["init", "groq", *place]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "Prices from litellm 1.110.2, groq/openai/gpt-oss-20b: 0.075 in (0.0375 cached)" in said
    assert own_providers(Path("providers.yaml"))["groq"].prices == Prices(
        input=0.075, output=0.3, cached_input=0.0375
    )
