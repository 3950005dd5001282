"""Join recorded exchanges to rollouts, by message prefix or `previous_response_id`, as a run."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from harness.api import DIALECTS
from harness.api.fields import nested, objects
from harness.api.items import Reply, UnreadableReplyError
from harness.errors import ConfigurationError
from harness.records.conditions import APIS, MODES, Condition
from harness.records.redact import Scrubber
from harness.records.rollouts import LoopEnd, Recording, Rollout
from harness.records.runs import UNKNOWN_ADDRESS, ImportInfo, ProviderInfo, RunSettings
from harness.run import run_folder
from harness.run.published_copy import known_secrets
from harness.run.run_log import RunLog, write_run_info
from harness.tasks.plan import new_info, now
from harness.tasks.recorded import NAME as TASK
from harness.tasks.recorded import ImportedTraffic, traffic_info
from harness.text import first_few
from harness.traffic.exchanges import MADE, Imported, LeftOutError, imported
from harness.traffic.recordings import RECORD, read_recordings

_UNFIT_FOR_AN_ID = re.compile(r"[^\w.@+:-]+")


@dataclass(frozen=True)
class Traffic:
    """Imported traffic: one rollout for each conversation, and the hosts that were addressed."""

    rollouts: tuple[Rollout, ...]
    info: ImportInfo
    hosts: Mapping[str, int]


def read_traffic(
    paths: Sequence[Path], *, host: str | None = None, models: Sequence[str] = ()
) -> Traffic:
    """Read recordings and join their exchanges to conversations.

    If `host` is given, only requests to it are read (`UNKNOWN_ADDRESS`: those without one).
    `models` are other names of gpt-oss models.
    Raises ConfigurationError if a file cannot be read, or no request to gpt-oss is in the files.
    """
    scrubber = Scrubber(known_secrets())
    recordings = read_recordings(paths)
    requests: list[Imported] = []
    left_out = recordings.left_out
    known: set[int] = set()
    others: list[str] = []
    for pair in recordings.pairs:
        try:
            recorded = imported(pair, models, scrubber)
        except LeftOutError as error:
            left_out[str(error)] += 1
            others += [error.model] if error.model else []
            continue
        content = hash(_content(recorded))
        if host is not None and (recorded.host or UNKNOWN_ADDRESS) != host:
            left_out[f"host {recorded.host or UNKNOWN_ADDRESS}"] += 1
        elif content in known:
            left_out["recorded twice"] += 1
        else:
            known.add(content)
            requests.append(recorded)
    counted = dict(left_out.most_common())
    if not requests:
        reasons = first_few([f"{count} × {reason}" for reason, count in counted.items()], 5)
        advice = f"pass --model {others[0]} if that is gpt-oss" if others else RECORD
        raise ConfigurationError(
            f"The recordings have no request to gpt-oss over Chat Completions or Responses "
            f"(left out: {reasons}); {advice}."
        )
    made = sum(recorded.lost >= MADE for recorded in requests)
    info = ImportInfo(files=recordings.files, requests=len(requests), left_out=counted, made=made)
    hosts = Counter(recorded.host or UNKNOWN_ADDRESS for recorded in requests)
    return Traffic(tuple(_rollouts(conversations(requests))), info, hosts)


def write_traffic(
    traffic: Traffic, provider: ProviderInfo, *, out: Path, command: Sequence[str], verdict: bool
) -> Path:
    """Write the conversations into a new run folder in `out`, and return it.

    Without `verdict`, the run has only findings. Raises RunLogError.
    """
    task = ImportedTraffic(traffic_info(traffic.rollouts, traffic.info))
    seen = {rollout.condition.api for rollout in traffic.rollouts}
    settings = RunSettings(
        apis=tuple(api for api in APIS if api in seen),
        modes=MODES,
        concurrency=1,
        findings_only=not verdict,
    )
    info = new_info(provider, [task], settings, command)
    folder = run_folder.create(out, provider.name)
    with RunLog(folder) as log:
        for rollout in traffic.rollouts:
            log.append(rollout)
    write_run_info(folder, info.model_copy(update={"finished_at": now(), "ended": "complete"}))
    return folder


def _content(recorded: Imported) -> object:
    """Return what two records of one request have in common; without a reply and a date, nothing.

    A client that tries again sends the same request.
    """
    exchange = recorded.exchange
    place = (recorded.file, recorded.number) if "date" in recorded.lost else None
    response = exchange.response
    body = orjson.dumps(exchange.request.body, option=orjson.OPT_SORT_KEYS)
    if response is None:
        return exchange.request.url, body, exchange.started_at, place
    return exchange.request.url, body, response.status, response.body, response.parts


def _rollouts(joined: Sequence[Sequence[Imported]]) -> list[Rollout]:
    """Conversations that begin with the same request are attempts at one sample."""
    samples: dict[object, str] = {}
    taken: set[str] = set()
    attempts: Counter[str] = Counter()
    made = []
    for exchanges in joined:
        key = _same_request(exchanges[0])
        if key not in samples:
            samples[key] = _name(exchanges[0], taken)
            taken.add(samples[key])
        sample = samples[key]
        attempts[sample] += 1
        made.append(_rollout(exchanges, sample, attempts[sample]))
    return made


def _same_request(recorded: Imported) -> object:
    """Return the key of identical requests to one host on one day, streaming or not.

    Without a date, they are of one file. Servers differ and change, so a difference between hosts
    or months is not a defect. A prompt has the properties of schemas in the order of the request.
    """
    undated = "date" in recorded.lost
    when = recorded.file if undated else recorded.exchange.started_at[: len("2026-01-31")]
    ignored = ("stream", "stream_options")
    body = {name: value for name, value in recorded.body.items() if name not in ignored}
    schemas = orjson.dumps([body.get(name) for name in ("tools", "response_format", "text")])
    sent = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return recorded.api, recorded.host, when, sent, schemas


def _name(recorded: Imported, taken: Collection[str]) -> str:
    """Return the file and place of a request as the name of a sample."""
    name = f"{_UNFIT_FOR_AN_ID.sub('-', Path(recorded.file).stem)}:{recorded.number}"
    if name not in taken:
        return name
    return next(free for n in count(2) if (free := f"{name}:{n}") not in taken)


def _rollout(exchanges: Sequence[Imported], sample: str, attempt: int) -> Rollout:
    first = exchanges[0]
    lost = frozenset[str]().union(*(recorded.lost for recorded in exchanges))
    source = f"{first.file}, request {first.number}"
    return Rollout(
        id=f"{TASK}/{sample}/{attempt}",
        task=TASK,
        sample=sample,
        condition=_condition(first),
        attempt=attempt,
        end=exchanges[-1].end,
        exchanges=tuple(recorded.exchange for recorded in exchanges),
        recording=Recording.model_validate(
            {
                "source": source,
                "lost": sorted(lost),
                "timed": all(recorded.timed for recorded in exchanges),
            }
        ),
    )


def _condition(recorded: Imported) -> Condition:
    effort = recorded.body.get("reasoning_effort") or nested(recorded.body, "reasoning", "effort")
    return Condition(
        model=str(recorded.body.get("model")),
        effort=effort if isinstance(effort, str) else None,
        api=recorded.api,
        mode="streaming" if recorded.exchange.request.streams else "non-streaming",
    )


def _end(last: Imported, reply: Reply | None) -> LoopEnd:
    """Return how a conversation ended; after an unanswered call, it counts as out of turns."""
    response = last.exchange.response
    if response is None or not response.good_status:
        return "failed"
    if reply is None:
        return "unreadable"
    return "max_turns" if reply.calls and reply.finish != "length" else "answered"


_Turn = tuple[str, ...]
"""One message or item of a conversation, in a normalized form that can be compared."""


def conversations(requests: Sequence[Imported]) -> list[list[Imported]]:
    """Join exchanges to conversations; the order in which they were recorded does not matter.

    An exchange continues another if its messages begin with the messages and the reply of the
    other, or if its `previous_response_id` is the id of the other's reply. If two continue the same
    one, the second starts a new conversation.
    """
    requests = list(requests)
    after: dict[object, list[int]] = {}
    for number, recorded in enumerate(requests):
        reply = _reply(recorded)
        requests[number] = replace(recorded, end=_end(recorded, reply))
        if reply is not None:
            turns = [*_sent(recorded), *_returned(recorded, reply)]
            after.setdefault(_key(recorded, turns), []).append(number)
            identity = reply.raw.get("id")
            if recorded.api == "responses" and identity and isinstance(identity, str):
                after.setdefault(identity, []).append(number)
    follower: dict[int, int] = {}
    continued = set()
    for number, recorded in enumerate(requests):
        before = [at for at in _before(recorded, after) if at != number and at not in follower]
        if before:
            same_file = [at for at in before if requests[at].file == recorded.file]
            follower[(same_file or before)[0]] = number
            continued.add(number)
    chains = [[start] for start in range(len(requests)) if start not in continued]
    for chain in chains:
        while chain[-1] in follower:
            chain.append(follower[chain[-1]])
    return [[requests[number] for number in chain] for chain in chains]


def _before(recorded: Imported, after: Mapping[object, list[int]]) -> list[int]:
    """Return the exchanges that this one continues: those with the longest common beginning."""
    previous = recorded.body.get("previous_response_id")
    if isinstance(previous, str) and previous in after:
        return after[previous]
    turns = _sent(recorded)
    for length in range(len(turns) - 1, 0, -1):
        key = _key(recorded, turns[:length])
        if key in after:
            return after[key]
    return []


def _key(recorded: Imported, turns: Iterable[_Turn]) -> object:
    """Return the key of a conversation, which keeps its API, mode, model and host."""
    streaming, model = recorded.exchange.request.streams, str(recorded.body.get("model"))
    return recorded.api, streaming, model, recorded.host, tuple(turns)


def _reply(recorded: Imported) -> Reply | None:
    try:
        # A copy, because a dialect keeps what it read as long as the exchange.
        return DIALECTS[recorded.api].read(recorded.exchange.model_copy())
    except UnreadableReplyError:
        return None


def _sent(recorded: Imported) -> list[_Turn]:
    """Return the turns of a request, without CoT, which clients need not send back."""
    turns = objects(DIALECTS[recorded.api].turns({**recorded.body, "instructions": None}))
    return [_turn(turn) for turn in turns if turn.get("type") != "reasoning"]


def _returned(recorded: Imported, reply: Reply) -> list[_Turn]:
    """Return the turns that a client appends for a reply."""
    calls = [_call(call.name, call.arguments) for call in reply.calls]
    if recorded.api == "chat":
        return [("assistant", reply.text.strip(), *calls)]
    text: list[_Turn] = [("assistant", reply.text.strip())] if reply.text else []
    return [*text, *(("call", call) for call in calls)]


def _turn(turn: Mapping[str, Any]) -> _Turn:
    """Return a message of Chat Completions, or an item of Responses."""
    if turn.get("type") == "function_call":
        return ("call", _call(turn.get("name"), turn.get("arguments")))
    if turn.get("type") == "function_call_output":
        return ("result", str(turn.get("call_id")), _text(turn.get("output")))
    functions = [call.get("function") for call in objects(turn.get("tool_calls"))]
    calls = [
        _call(function.get("name"), function.get("arguments")) for function in objects(functions)
    ]
    return (str(turn.get("role")), _text(turn.get("content")), *calls)


def _call(name: object, arguments: object) -> str:
    """Return a tool call as text; arguments are compared as JSON."""
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        value = arguments
    return f"{name}({json.dumps(value, sort_keys=True, default=str)})"


def _text(content: object) -> str:
    if isinstance(content, list):
        parts = (part.get("text") or json.dumps(part, sort_keys=True) for part in objects(content))
        return "".join(map(str, parts)).strip()
    return str(content or "").strip()
