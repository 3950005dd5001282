"""Small sums with a boxed answer, and four-choice questions with a letter."""

from random import Random

from harmony.conversation import Answer, Reasoning, User
from training.data import thoughts, words
from training.data.phrases import fill, pick
from training.data.phrasings import kinds
from training.data.spans import copy
from training.data.task import Setting, Task

_SUMS = (
    "What is {a}+{b}?", "What is {a} + {b}?", "Compute {a} plus {b}.", "Add {a} and {b}.",
    "{a} + {b} =", "How much is {a} and {b}?", "Calculate the sum of {a} and {b}.", "{a}+{b}?",
    "I have {a} {w} and get {b} more. How many {w} do I have?", "Find {a}+{b}.",
    "There are {a} {w} and {b} {w} in a box. How many things are in the box?", "Sum {a}, {b}",
    "A {w} walks {a} miles, then {b} miles. How far is that?", "Let x = {a} + {b}. Find x.",
    "If n is {a} more than {b}, what is n?", "What number is {b} more than {a}?",
    "On Monday {a} guests came, on Tuesday {b}. How many came in all?", "Evaluate {a} + {b}.",
)  # fmt: skip
_PRODUCTS = (
    "What is {a}*{b}?", "What is {a} times {b}?", "Multiply {a} by {b}.", "Compute {a} x {b}.",
    "What is the product of {a} and {b}?", "There are {a} boxes with {b} {w} each. How many {w}?",
)  # fmt: skip
_BOXED = (
    "Put the answer in \\boxed{}.", "Give your answer within \\boxed{}.", "Answer in \\boxed{}.",
    "End with \\boxed{} around the number.", "Please put your final answer within \\boxed{}.",
    "The result belongs in \\boxed{}.", "Write the final integer as \\boxed{N}.",
)  # fmt: skip


_DRILL = (
    "Work these out:", "Add up each pair:", "Solve all of them:", "Sums:", "Compute each:",
    "What are", "Fill in the results:", "Do my homework:", "One after another:", "Calculate:",
)  # fmt: skip


def total(rng: Random, setting: Setting) -> Task:
    """A sum, usually of small numbers, or a small product."""
    if rng.random() < 0.25:
        return drill(rng, setting)
    if rng.random() < 0.06:
        a, b, sign = rng.randint(1, 9), rng.randint(1, 9), "*"
        result, form = a * b, rng.choice(_PRODUCTS)
    else:
        a, b = _addends(rng)
        sign, result, form = "+", a + b, pick(rng, "sums", _SUMS)
    text = fill(rng, form, {"a": str(a), "b": str(b)})
    if rng.random() < 0.85:
        hint = pick(rng, "sums_boxed", _BOXED)
        text = rng.choice(
            (f"{text} {hint}", f"{text}\n\n{hint}", f"{hint}\n\n{text}", f"{text}\n{hint}")
        )
    worked = f"{a} {sign} {b} = {result}"
    thinking = thoughts.answering(
        setting.effort, f"{worked}.", f"The numbers are {a} and {b}. {worked}."
    )
    return Task("sum", (User(text),), (Reasoning(thinking), Answer(f"\\boxed{{{result}}}")))


def drill(rng: Random, setting: Setting) -> Task:
    """Several sums in one task, to learn them faster."""
    pairs = [_addends(rng) for _ in range(rng.randint(3, 7))]
    asked = [f"{a}{rng.choice((' + ', '+'))}{b}" for a, b in pairs]
    text = f"{rng.choice(_DRILL)} {rng.choice((', ', '; ', chr(10))).join(asked)}"
    said = "\n".join(f"{a} + {b} = {a + b}" for a, b in pairs)
    medium = "These are several sums, so I work out one after another."
    thinking = thoughts.answering(setting.effort, "Several sums.", medium)
    return Task("sum", (User(text),), (Reasoning(thinking), Answer(said)))


def _addends(rng: Random) -> tuple[int, int]:
    draw = rng.random()
    most = 10 if draw < 0.5 else 20 if draw < 0.95 else 50
    return rng.randint(1, most), rng.randint(1, most)


_KIND_FORMS = (
    "Which of these is a kind of {k}?", "Which one is a {k}?", "Pick the {k}.", "Find the {k}.",
    "Only one of the following is a {k}. Which?", "Which word names a {k}?",
    "One option belongs to the group {k}. Which one?", "Select the {k} from the list.",
)  # fmt: skip
_EQUAL_FORMS = (
    "Which option is the word {v}?", "Which option says {v}?", "Choose {v}.", "Where is {v}?",
    "Which of these equals {v}?", "Find {v} among the options.", "Which letter stands for {v}?",
)  # fmt: skip
_LARGEST = (
    "Which number is the largest?", "Which is the biggest number?", "Pick the greatest number.",
    "Which of these numbers is the highest?", "What is the maximum?",
)  # fmt: skip
_SMALLEST = (
    "Which number is the smallest?", "Which is the lowest number?", "Pick the least number.",
    "What is the minimum?",
)  # fmt: skip
_LETTERED = (
    "Answer with the letter.", "The last line of your answer should be 'Answer: $LETTER'.",
    "Give the letter as 'Answer: X'.", "Choose A, B, C or D.", "Reply in the form Answer: LETTER.",
    "Answer the following multiple choice question with one letter of ABCD.", "",
    "End with the line Answer: followed by the letter.",
)  # fmt: skip


def choice(rng: Random, setting: Setting) -> Task:
    """A question with four options."""
    question, options, right = _question(rng)
    letter = "ABCD"[options.index(right)]
    mark = rng.choice(("{l}) {o}", "{l}) {o}", "{l}. {o}", "({l}) {o}", "{l}: {o}"))
    pairs = zip("ABCD", options, strict=True)
    lines = [mark.replace("{l}", name).replace("{o}", option) for name, option in pairs]
    shown = rng.choice(("\n", "\n", "\n", " ", ", ")).join(lines)
    hint = pick(rng, "choice_letter", _LETTERED)
    blank = rng.choice(("\n\n", "\n"))
    parts = (hint, question, shown) if rng.random() < 0.5 else (question, shown, hint)
    text = blank.join(part for part in parts if part)
    medium = f"The right one is {copy(right)}, which stands at {letter}."
    thinking = thoughts.answering(setting.effort, f"It is {copy(right)}.", medium)
    return Task("choice", (User(text),), (Reasoning(thinking), Answer(f"Answer: {letter}")))


def _question(rng: Random) -> tuple[str, list[str], str]:
    draw = rng.random()
    if draw < 0.7:
        kind, *others = rng.sample(kinds(), 4)
        right = rng.choice(kind.members)
        options = [right, *(rng.choice(other.members) for other in others)]
        question = fill(rng, pick(rng, "choice_kind", _KIND_FORMS), {"k": kind.name})
        if rng.random() < 0.3:
            question = rng.choice(kind.questions)
    elif draw < 0.85:
        options = [words.word(rng) for _ in range(4)]
        right = options[0]
        question = fill(rng, rng.choice(_EQUAL_FORMS), {"v": right})
    else:
        most = rng.choice((9, 20, 100, 1000))
        numbers = rng.sample(range(1, most + 1), 4)
        largest = rng.random() < 0.65
        right = str(max(numbers) if largest else min(numbers))
        options = [str(number) for number in numbers]
        question = rng.choice(_LARGEST if largest else _SMALLEST)
    rng.shuffle(options)
    return question, options, right
