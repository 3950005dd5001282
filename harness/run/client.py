"""Requests that are not recorded: those of preflight and `init`."""

from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import ProviderUnreachableError
from harness.providers.entries import Provider, access
from harness.records.redact import Redactor
from harness.records.rollouts import Exchange, Response
from harness.transport import open_transport
from harness.transport.retry import RetryPolicy

TRIES = 4
POLICY = RetryPolicy(
    {"overloaded": TRIES - 1, "locked_out": 1, "passing": TRIES - 1},
    first_wait=0.6,
    longest_retry_after=3,
)

Say = Callable[[str], None]  # tells the user something
Seen = Callable[[Exchange], None]  # gets each exchange, which no log has


class NotConnectedError(ProviderUnreachableError):
    """No connection to the provider could be opened."""


async def request(
    provider: Provider,
    path: str,
    body: Mapping[str, Any] | None = None,
    say: Say = lambda _: None,
    seen: Seen = lambda _: None,
) -> Response:
    """POST `body` to `path` below the base URL, or GET without a body.

    A request that a failing or overloaded server rejects is sent up to `TRIES` times; `say`
    receives a sentence about each retry, and `seen` the exchange. Connections are not retried, so
    that a wrong base URL is reported at once. The response may be incomplete, which a run records
    as a finding.

    Raises ConfigurationError if an environment variable of the provider is not set, and
    ProviderUnreachableError if there was no response.
    """

    def retrying(failed: Exchange, number: int, _: float) -> None:
        what = f"status {failed.response.status}" if failed.response else "no response"
        say(f"{path} returned {what}; starting try {number + 1} of {TRIES}")

    async with open_transport(provider, retries=POLICY, retrying=retrying) as transport:
        exchange = await transport.send(path, body)
    seen(exchange)
    if exchange.response is not None:
        return exchange.response
    failure = exchange.failure
    if failure is not None and failure.kind == "encoding":
        return Response(status=200, headers={}, complete=False)  # it answers; a run says how
    connected = failure is None or failure.kind != "connect"
    url = Redactor(access(provider).secrets).text(exchange.request.url)
    raise (ProviderUnreachableError if connected else NotConnectedError)(
        f"provider {provider.name} does not answer at {url}: "
        f"{failure and failure.message}; check that it is running and its base_url"
    )
