"""Whether a provider answers, in what time, and whether it knows the model."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.util import find_spec

from harness.api import DIALECTS
from harness.doctor.lines import EXIT_UNREACHABLE, Line, note, ok, problem, warning
from harness.endpoints.preflight import ask, listed_models, require_use
from harness.errors import ConfigurationError, ProviderUnavailableError
from harness.providers.entries import Launch, Provider
from harness.records.rollouts import Exchange

LARGEST_SKEW = timedelta(minutes=1)


async def reached(providers: Sequence[Provider]) -> list[Line]:
    """Ask each of them, all at the same time: its list of models, and one tiny request an API."""
    answers = await asyncio.gather(*map(_reached, providers))
    return [line for lines in answers for line in lines]


async def _reached(provider: Provider) -> list[Line]:
    if provider.launch is not None:
        return [launch_line(provider.name, provider.launch)]
    try:
        models = await listed_models(provider)
        lines = [_models_line(provider, models)]
        for api in provider.apis:
            exchange = await ask(provider, api)
            require_use(provider, api, exchange, models)
            lines += _answer_lines(provider, exchange, DIALECTS[api].path)
    except ConfigurationError as error:
        return [problem(provider.name, str(error))]
    except ProviderUnavailableError as error:
        return [problem(provider.name, str(error), code=EXIT_UNREACHABLE)]
    return lines


def launch_line(name: str, launch: Launch) -> Line:
    """Whether what starts the provider is there; it is not started."""
    program, *arguments = launch.command
    if program == "{python}":
        program = sys.executable
    if launch.cwd is not None and "/" in program:
        program = str(launch.cwd / program)
    if shutil.which(program, path=launch.env.get("PATH")) is None:
        text = f"{program}, which the launch entry starts, is not to be found"
        return problem(name, text, "install it, or give its path", EXIT_UNREACHABLE)
    flag, module = [*arguments, "", ""][:2]
    if program == sys.executable and flag == "-m" and module and not _is_module(module):
        text = f"Python has no module {module}, which the launch entry starts"
        return problem(name, text, "install it", EXIT_UNREACHABLE)
    return ok(name, "is started by the tool when it is needed, and was not started now")


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _models_line(provider: Provider, models: Sequence[str] | None) -> Line:
    if models is None:
        return note(provider.name, "keeps no list of models for us")
    text = f"lists {len(models)} model{'' if len(models) == 1 else 's'}"
    if provider.model in models:
        return ok(provider.name, f"{text}, {provider.model} among them")
    return note(provider.name, f"{text}, {provider.model} not among them")


def _answer_lines(provider: Provider, exchange: Exchange, path: str) -> Iterator[Line]:
    response = exchange.response
    if response is None:
        return
    text = f"answers {path} with {response.status} in {exchange.elapsed:.2f} s"
    if response.status >= 300:
        remedy = "see what it says with --debug -n 1 -k 1; a run would report this as a finding"
        yield warning(provider.name, text, remedy)
    else:
        yield ok(provider.name, text)
    yield from skew(provider.name, response.headers, datetime.now(UTC))


def skew(name: str, headers: Mapping[str, str], now: datetime) -> Iterator[Line]:
    """A line if a provider's clock, told from its Date header, is not ours."""
    told = next((value for key, value in headers.items() if key.lower() == "date"), None)
    try:
        theirs = parsedate_to_datetime(told or "")
    except ValueError:
        return
    off = abs(now - theirs.astimezone(UTC))
    if off > LARGEST_SKEW:
        text = f"its clock and ours differ by {off.total_seconds():,.0f} s"
        yield warning(name, text, "set the clock of this machine, if it is the wrong one")
