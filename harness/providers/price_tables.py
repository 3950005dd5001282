"""Prices of gpt-oss in the tables of installed packages: litellm and genai-prices.

Their data is published with each version, so a price is that of the version, not of today.
"""

import importlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import orjson

from harness.errors import ConfigurationError
from harness.providers.entries import Prices, Provider
from harness.text import first_few

Table = Literal["litellm", "genai-prices"]
_LITELLM = "litellm/model_prices_and_context_window_backup.json"
_MILLION = 1_000_000
_DIGITS = 6  # of a price for a million tokens; the tables have prices for one


class TablePrices(NamedTuple):
    """Prices, and where they are from: the package with its version, and the row."""

    prices: Prices
    source: str


def table_prices(table: Table, provider: Provider) -> TablePrices:
    """Return the prices of a provider's model in a table.

    Raises ConfigurationError if the package is not installed, or the table has none or several.
    """
    try:
        package = distribution(table)
    except PackageNotFoundError:
        raise ConfigurationError(
            f"{table} is not installed here; install it with: pip install {table}"
        ) from None
    rows = dict(_of_litellm(provider) if table == "litellm" else _of_genai_prices(provider))
    where = f"{table} {package.version}"
    if not rows:
        raise ConfigurationError(
            f"{where} has no prices of {provider.model} at {provider.base_url}; write `prices` "
            "into the entry yourself."
        )
    if len(set(rows.values())) > 1:
        raise ConfigurationError(
            f"{where} has several prices of {provider.model} at {provider.base_url} "
            f"({first_few(list(rows), 3)}); write `prices` into the entry yourself."
        )
    name, prices = next(iter(rows.items()))
    return TablePrices(prices, f"{where}, {name}")


def _of_litellm(provider: Provider) -> Iterator[tuple[str, Prices]]:
    """Yield the rows of litellm's table for the last part of a model's name and the host."""
    path = Path(str(distribution("litellm").locate_file(_LITELLM)))
    labels = (urlsplit(provider.base_url).hostname or "").split(".")
    for name, row in orjson.loads(path.read_bytes()).items():
        seller = str(row.get("litellm_provider")).partition("_")[0]
        if seller in labels and _last(name) == _last(provider.model):
            yield (
                name,
                _prices(
                    row.get("input_cost_per_token"),
                    row.get("output_cost_per_token"),
                    row.get("cache_read_input_token_cost"),
                ),
            )


def _last(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _of_genai_prices(provider: Provider) -> Iterator[tuple[str, Prices]]:
    """Yield the row that genai-prices itself finds for an address, at the present date."""
    library = importlib.import_module("genai_prices")

    def price(**tokens: int) -> object:
        return library.calc_price(
            library.Usage(**tokens), provider.model, provider_api_url=provider.base_url
        )

    try:
        plain = price(input_tokens=_MILLION, output_tokens=_MILLION)
        cached = price(input_tokens=_MILLION, cache_read_tokens=_MILLION)
    except LookupError:
        return
    name = f"{plain.provider.id}/{plain.model.id}"  # type: ignore[attr-defined]
    each = plain.input_price, plain.output_price, cached.input_price  # type: ignore[attr-defined]
    yield name, _prices(*(float(value) / _MILLION for value in each))


def _prices(given: float | None, made: float | None, cached: float | None) -> Prices:
    """Return prices of a million tokens from those of one; equal cached prices are left out."""
    if given is None or made is None:
        raise ConfigurationError("The table has a row without a price; write `prices` yourself.")
    own = None if cached in (None, given) else round((cached or 0.0) * _MILLION, _DIGITS)
    return Prices(
        input=round(given * _MILLION, _DIGITS),
        output=round(made * _MILLION, _DIGITS),
        cached_input=own,
    )
