"""Agreement of answer extraction with labels: our rules compared with OpenAI's script.

    python benchmarks/answers.py [--show] [--half developed|held-out]

`tests/evals/answers` has the labeled answers, and a README.md that states how they were labeled.
The output has two lines for each set of answers: how many readings agree with the label, how many
answers are read although the label differs or is None ("credited wrongly"), and how many are not
read although the label is an answer ("missed"). `--show` prints every answer for which our rules
disagree with the label.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Literal

from evals.extraction import openai_script
from evals.extraction.integer import integer_answer
from evals.extraction.letter import letter_answer

FOLDER = Path(__file__).parent.parent / "tests" / "evals" / "answers"
NONE = "-"

Half = Literal["developed", "held-out"]
_HALVES: dict[str, tuple[Half, ...]] = {
    "developed": ("developed",),
    "held-out": ("held-out",),
    "developed, held-out": ("developed", "held-out"),
}
Result = Literal["agrees", "credited wrongly", "missed"]


@dataclass(frozen=True)
class Labelled:
    """A final answer in the style of a model, and its label: an integer, a letter, or None.

    `choices` are the texts of A, B, C and D, empty for integers. The rules were developed on some
    of the answers; the others were held out.
    """

    place: str
    label: str | None
    category: str
    text: str
    choices: tuple[str, ...]
    half: Half


def labelled(path: Path) -> Iterator[Labelled]:
    """The answers of a file, each a line `== LABEL CATEGORY` and the text.

    A line `@` gives the choices, or `integer`, for the answers after it. The first line states
    whether the rules were `developed` on these answers, or whether all or every second one of them
    were `held-out`.
    """
    first, *lines = path.read_text(encoding="utf-8").split("\n")
    halves: Sequence[Half] = _HALVES[first]
    choices: tuple[str, ...] = ()
    entries: list[tuple[int, str, list[str], tuple[str, ...]]] = []
    for number, line in enumerate(lines, start=2):
        if line.startswith("@ "):
            choices = () if line == "@ integer" else tuple(line[2:].split(" | "))
        elif line.startswith("== "):
            entries.append((number, line[3:], [], choices))
        elif entries:
            entries[-1][2].append(line)
    for (number, head, text, given), half in zip(entries, cycle(halves), strict=False):
        label, category = head.split(" ")
        place = f"{path.name}:{number}"
        answer = None if label == NONE else label
        yield Labelled(place, answer, category, "\n".join(text).rstrip("\n"), given, half)


def ours(answer: Labelled) -> str | None:
    """The answer that our rules read."""
    if answer.choices:
        found = letter_answer(answer.text, answer.choices)
    else:
        found = integer_answer(answer.text)
    return found.answer if found else None


def openais(answer: Labelled) -> str | None:
    """The answer that OpenAI's script reads; None if it is not a possible one."""
    if answer.choices:
        letter = openai_script.letter(answer.text)
        return letter if letter in {"A", "B", "C", "D"} else None
    integer = openai_script.integer(answer.text)
    return None if integer is None else str(integer)


def result(read: str | None, label: str | None) -> Result:
    """The result of a reading for a label."""
    if read == label:
        return "agrees"
    return "missed" if read is None else "credited wrongly"


def tally(answers: Iterable[Labelled], read: Callable[[Labelled], str | None]) -> Counter[Result]:
    """How often each result occurs."""
    return Counter(result(read(answer), answer.label) for answer in answers)


def report(name: str, answers: Sequence[Labelled], *, show: bool) -> None:
    for reader, read in (("ours", ours), ("OpenAI's script", openais)):
        counts = tally(answers, read)
        print(
            f"{name:20} {reader:16} {counts['agrees']:4} of {len(answers)} "
            f"({counts['agrees'] / len(answers):6.1%}) agree, "
            f"{counts['credited wrongly']:3} credited wrongly, {counts['missed']:3} missed"
        )
    for answer in answers if show else ():
        if ours(answer) != answer.label:
            print(f"  {answer.place} {answer.category}: {ours(answer)}, not {answer.label}")
            print("    | " + answer.text.replace("\n", "\n    | "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--show", action="store_true", help="print answers read differently")
    parser.add_argument("--half", choices=("developed", "held-out"))
    arguments = parser.parse_args()
    for path in sorted(FOLDER.glob("*.txt")):
        for half in (arguments.half,) if arguments.half else ("developed", "held-out"):
            answers = [each for each in labelled(path) if each.half == half]
            if answers:
                report(f"{path.stem}, {half}", answers, show=arguments.show)


if __name__ == "__main__":
    main()
