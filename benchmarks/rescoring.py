"""What `rescore` says of replies that the small model wrote with a known defect.

    python -m benchmarks.rescoring [FAULT ...] [--requests N] [--dtype float32|bfloat16]

For each fault of the prompt or the model, the reference engine answers N requests of the recorded
healthy run with it. The same engine without the fault reads these replies, as `rescore` does. A row
says how many were accused, whether the model is called another one, and which fault is named. The
fault `none` is a healthy server; with another seed it is another sample of it.
"""

import argparse
import random
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from gpt_oss_verify.reading import cause_of, reading_of
from harness.api.parsed_rollout import parse_rollout
from harness.records.readings import Reading
from harness.rescoring.history import History
from harness.rescoring.judgement import judged
from harness.rescoring.questions import Question, questions_of
from harness.run.run_log import read_rollouts
from reference_engine.rescoring.prompts import Rendering, prompt_of
from reference_engine.rescoring.reading import Passage
from reference_engine.rescoring.tree import TreeReader
from reference_engine.scoring import answer_lines
from reference_engine.server.serve import load
from reference_engine.server.settings import ServeSettings

_RUN = Path("tests/support/healthy_run.tar.xz")
_HEALTHY = "none"
_MOST_TOKENS, _LONGEST = 64, 1200  # tokens of a reply, characters of a request
DEFAULT = (
    *("none", "system-dropped", "tools-not-rendered", "effort-ignored", "result-order-reversed"),
    *("chat-reasoning-not-replayed", "non-ascii-escaped", "user-named-human", "addresses-masked"),
    *("experts-in-int4", "model-noise-10", "model-noise-16", "model-noise-20"),
    *("model-of-four-bits", "model-of-three-bits"),
)


def requests(count: int, seed: int) -> list[Question]:
    """Return requests of the recorded healthy run whose replies the model writes freely."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(_RUN) as archive:
        archive.extractall(folder, filter="data")
        history = History()
        rollouts = read_rollouts(Path(folder) / "healthy")
        every = [q for each in rollouts for q in questions_of(parse_rollout(each), history)]
    free = {
        orjson.dumps([q.api, q.body], option=orjson.OPT_SORT_KEYS): q
        for q in every
        if q.unread is None and q.api != "harmony" and _is_free(q)
    }
    chosen = list(free.values())
    random.Random(seed).shuffle(chosen)
    return chosen[:count]


def _is_free(question: Question) -> bool:
    body, sent = question.body, orjson.dumps(question.body)
    written = question.reply.messages
    # `type` is that of a frame of a WebSocket.
    limits = ("response_format", "text", "stop", "tool_choice", "previous_response_id", "type")
    return (
        len(sent) <= _LONGEST
        and b'"item_reference"' not in sent
        and question.top_p == 1
        and not any(body.get(name) for name in limits)
        and not any(message.given or message.bound for message in written)
    )


def written_with(
    fault: str, questions: Sequence[Question], settings: ServeSettings
) -> list[tuple[int, ...]]:
    """Return the completions that the engine writes with a fault, in tokens."""
    lines = [
        orjson.dumps(
            {
                "id": str(at),
                "api": q.api,
                "body": {**q.body, _limit(q): _MOST_TOKENS},
            }
        )
        for at, q in enumerate(questions)
    ]
    faults = () if fault == _HEALTHY else (fault,)
    made = ServeSettings(dtype=settings.dtype, faults=faults)
    _, *answers = map(orjson.loads, answer_lines(lines, made))
    by_id = {int(a["id"]): tuple(token["id"] for token in a["tokens"]) for a in answers}
    return [by_id[at] for at in range(len(questions))]


def _limit(question: Question) -> str:
    return "max_output_tokens" if question.api == "responses" else "max_tokens"


def read(
    reader: TreeReader, questions: Sequence[Question], completions: Sequence[tuple[int, ...]]
) -> list[Reading]:
    """Return the readings of completions after the right prompts."""
    prompts = [prompt_of(q.api, q.body, Rendering(), q.date) for q in questions]
    passages = [
        Passage(prompt or (), ids, q.temperature)
        for q, prompt, ids in zip(questions, prompts, completions, strict=True)
    ]
    return [
        reading_of(question, passage.prompt, passage.completion, [True] * len(tokens), tokens)
        for question, passage, tokens in zip(
            questions, passages, reader.read(passages, lambda *_: ()), strict=True
        )
    ]


def main() -> None:
    """Print a row for each fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("faults", nargs="*", default=DEFAULT)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="float32", help="of the server; the reader's is float32")
    given = parser.parse_args()
    questions = requests(given.requests, given.seed)
    reader = TreeReader(load(ServeSettings(dtype="float32")))
    print(f"{len(questions)} requests, server in {given.dtype}")
    print("fault | accused | small first gaps | lowest p | another model | named | nats, next | s")
    for fault in given.faults:
        began = time.perf_counter()
        completions = written_with(fault, questions, ServeSettings(dtype=given.dtype))
        readings = read(reader, questions, completions)
        found = judged(readings)
        cause = None
        if found.suspicious:
            evidence = found.evidence(readings, whole=False)
            cause = cause_of(reader, Rendering(), questions, evidence)
        lowest = min((min(s.low, s.high) for s in found.sums.values()), default=1.0)
        named = "– | –"
        if cause:
            alike = " or ".join((cause.fault, *cause.indistinguishable))
            named = f"{alike} | {cause.nats:.0f}, {cause.second:.0f}"
        print(
            f"{fault} | {len(found.improbable)} | {len(found.deviating)} of {found.greedy} | "
            f"{lowest:.1g} | {'yes' if found.other_model else 'no'} | {named} | "
            f"{time.perf_counter() - began:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
