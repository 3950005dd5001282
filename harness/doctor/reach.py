"""Check that providers answer, how fast they are, and whether they have the model."""

import asyncio
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.util import find_spec

from harness.api import DIALECTS
from harness.doctor.lines import Line, problem
from harness.errors import EXIT_UNREACHABLE, ConfigurationError, ProviderUnavailableError
from harness.providers.entries import Launch, Provider
from harness.run.client import Answer
from harness.run.preflight import listed_models, require_usable, smallest_request

LARGEST_SKEW = timedelta(minutes=1)


async def reached(providers: Sequence[Provider]) -> list[Line]:
    """Request the models of all providers concurrently, and one small reply per API."""
    results = await asyncio.gather(*map(_reached, providers))
    return [line for lines in results for line in lines]


async def _reached(provider: Provider) -> list[Line]:
    if provider.launch is not None:
        return [launch_line(provider.name, provider.launch)]
    try:
        models = await listed_models(provider)
        lines = [_models_line(provider, models)]
        for api in provider.apis:
            answer = await smallest_request(provider, api)
            require_usable(provider, api, answer, models)
            lines += _answer_lines(provider, answer, DIALECTS[api].path)
    except ConfigurationError as error:
        return [problem(provider.name, str(error))]
    except ProviderUnavailableError as error:
        return [problem(provider.name, str(error), code=EXIT_UNREACHABLE)]
    return lines


def launch_line(name: str, launch: Launch) -> Line:
    """Check that the program of a launch entry exists, without starting it."""
    program, *arguments = launch.command
    if program == "{python}":
        program = sys.executable
    if launch.cwd is not None and "/" in program:
        program = str(launch.cwd / program)
    if shutil.which(program, path=launch.env.get("PATH")) is None:
        text = f"the program of its launch entry, {program}, was not found"
        return problem(name, text, "install it, or use its full path", EXIT_UNREACHABLE)
    flag, module = [*arguments, "", ""][:2]
    if program == sys.executable and flag == "-m" and module and not _is_module(module):
        text = f"the Python module of its launch entry, {module}, was not found"
        return problem(name, text, "install it", EXIT_UNREACHABLE)
    return Line(name, "ok", "has a launch entry; not started now")


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _models_line(provider: Provider, models: Sequence[str] | None) -> Line:
    if models is None:
        return Line(provider.name, "note", "does not list its models")
    text = f"lists {len(models)} model{'' if len(models) == 1 else 's'}"
    if provider.model in models:
        return Line(provider.name, "ok", f"{text}, including {provider.model}")
    return Line(provider.name, "note", f"{text}, but not {provider.model}")


def _answer_lines(provider: Provider, answer: Answer, path: str) -> Iterator[Line]:
    text = f"answers {path} with {answer.status} in {answer.elapsed:.2f} s"
    if answer.status >= 300:
        remedy = "run with --debug -n 1 -k 1 to see the response, which a run reports as a finding"
        yield Line(provider.name, "warning", text, remedy)
    else:
        yield Line(provider.name, "ok", text)
    yield from skew(provider.name, answer.headers, datetime.now(UTC))


def skew(name: str, headers: Mapping[str, str], now: datetime) -> Iterator[Line]:
    """Compare the Date header of a response with the local time."""
    date = next((value for key, value in headers.items() if key.lower() == "date"), None)
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return
    off = abs(now - theirs.astimezone(UTC))
    if off > LARGEST_SKEW:
        text = f"its clock and the local clock differ by {off.total_seconds():,.0f} s"
        yield Line(name, "warning", text, "check the clock of this machine")
