"""Which faults that change replies the reference sees when it reads these replies.

    python -m benchmarks.rescored_damage [FAULT ...] [--replies N]

The recorded healthy run is read once (some minutes). Each fault of replies is then applied to it,
and N replies whose text it changes are read in place of the undamaged ones. A row says how many
were accused: each alone among healthy replies, and all together. A fault without a row changes no
text that can be read, such as one that makes replies unreadable.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random

sys.path[:0] = [str(Path(__file__).parents[1] / "tests/support")]

import corpus  # noqa: E402

from gpt_oss_verify.reading import read_questions  # noqa: E402
from harness.api.parsed_rollout import parse_rollout  # noqa: E402
from harness.records.readings import Reading  # noqa: E402
from harness.records.rollouts import Rollout  # noqa: E402
from harness.rescoring.history import History  # noqa: E402
from harness.rescoring.judgement import judged  # noqa: E402
from harness.rescoring.questions import Question, questions_of  # noqa: E402
from reference_engine.rescoring.prompts import Rendering  # noqa: E402
from reference_engine.rescoring.reading import Reader  # noqa: E402
from reference_engine.rescoring.tree import TreeReader  # noqa: E402
from reference_engine.server.serve import load  # noqa: E402
from reference_engine.server.settings import ServeSettings  # noqa: E402

Key = tuple[str, int, int]


def questions(rollouts: Iterable[Rollout]) -> dict[Key, Question]:
    """Return the replies of a run by their keys."""
    history = History()
    every = (each for one in rollouts for each in questions_of(parse_rollout(one), history))
    return {question.key: question for question in every}


def readings(reader: Reader, asked: Sequence[Question]) -> dict[Key, Reading]:
    """Return the readings of replies by their keys."""
    parts = read_questions(reader, Rendering(), asked)
    return {reading.key: reading for _, part in parts for reading in part}


def accused(made: Mapping[Key, Reading], healthy: Mapping[Key, Reading]) -> set[Key]:
    """Return which replies are accused where some stand in place of healthy ones."""
    return {each.reading.key for each in judged(list({**healthy, **made}.values())).improbable}


def changed(damaged: Mapping[Key, Question], healthy: Mapping[Key, Question]) -> list[Key]:
    """Return the replies that can be read and have another text."""

    def texts(question: Question) -> list[str]:
        return [message.text for message in question.reply.messages]

    return [
        key
        for key, question in damaged.items()
        if key in healthy
        and question.unread is healthy[key].unread is None
        and texts(question) != texts(healthy[key])
    ]


def main() -> None:
    """Print a row for each fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = [fault.name for fault in corpus.faults_of_replies() if not fault.allowed]
    parser.add_argument("faults", nargs="*", default=known)
    parser.add_argument("--replies", type=int, default=8)
    given = parser.parse_args()
    run, reader = corpus.healthy(), TreeReader(load(ServeSettings(dtype="float32")))
    asked = questions(run.rollouts)
    healthy = readings(reader, list(asked.values()))
    print(f"healthy: {len(accused({}, healthy))} of {len(healthy)} accused")
    print("fault | replies with another text | read | accused alone | together | undamaged ones")
    for name in given.faults:
        damaged = questions(corpus.damaged(run.rollouts, name))
        keys = changed(damaged, asked)
        Random(name).shuffle(keys)
        made = readings(reader, [damaged[key] for key in keys[: given.replies]])
        if not made:
            continue
        alone = sum(key in accused({key: reading}, healthy) for key, reading in made.items())
        together = accused(made, healthy)
        print(
            f"{name} | {len(keys)} | {sum(each.unread is None for each in made.values())} | "
            f"{alone} | {len(together & made.keys())} | {len(together - made.keys())}",
            flush=True,
        )


if __name__ == "__main__":
    main()
