"""Requests for Python: what to compute, and the code that prints it."""

from collections.abc import Mapping
from random import Random

from training.data import natural, phrasings, samples, words
from training.data.phrases import fill, listed, one_of, quoted, request
from training.data.spans import copy

_Wordings = tuple[str, tuple[str, ...], tuple[str, ...]]
"""The code, verb phrases and noun phrases; `{x}` is their object."""

_ON_TEXTS: tuple[_Wordings, ...] = (
    ('print(len("{x}"))', ("count the characters of {x}", "measure the length of {x}"),
     ("the length of {x}", "the number of characters in {x}", "how many characters {x} has",
      "how long {x} is", "how many characters are in {x}", "the character count of {x}")),
    ('print("{x}"[::-1])', ("reverse {x}", "spell {x} backwards", "write {x} in reverse",
     "turn {x} around", "flip the letters of {x}"),
     ("{x} backwards", "{x} in reverse", "{x} from its last letter to its first")),
    ('print("{x}".upper())', ("write {x} in capitals", "turn {x} into upper case",
     "capitalise every letter of {x}", "uppercase {x}"),
     ("{x} in upper case", "{x} in all caps", "{x} in capital letters")),
    ('print("{x}".lower())', ("put {x} into lower case", "write {x} in small letters"),
     ("{x} in lower case", "{x} without capitals")),
    ('print(len("{x}".split()))', ("count the words of {x}",),
     ("the number of words in {x}", "how many words {x} has", "the word count of {x}")),
    ('print(sorted("{x}"))', ("sort the letters of {x}", "put the letters of {x} in order"),
     ("the letters of {x} in alphabetical order", "the sorted letters of {x}")),
    ('print(len(set("{x}")))', ("count the different letters of {x}",),
     ("how many different letters {x} has", "the number of distinct characters of {x}")),
)  # fmt: skip
_ON_NUMBERS: tuple[_Wordings, ...] = (
    ("print(sum([{x}]))", ("add up {x}", "sum {x}", "total {x}", "add {x} together"),
     ("the sum of {x}", "the total of {x}", "what {x} add up to")),
    ("print(max([{x}]))", ("find the largest of {x}", "pick the biggest of {x}"),
     ("the largest of {x}", "the maximum of {x}", "the biggest number among {x}",
      "the highest of {x}", "the greatest of {x}", "the max of {x}")),
    ("print(min([{x}]))", ("find the smallest of {x}", "pick the lowest of {x}"),
     ("the smallest of {x}", "the minimum of {x}", "the lowest number among {x}")),
    ("print(sorted([{x}]))", ("sort {x}", "put {x} in ascending order", "order {x} by size"),
     ("{x} in ascending order", "{x} sorted", "the numbers {x} from small to large")),
    ("print(sum([{x}]) / len([{x}]))", ("average {x}",),
     ("the mean of {x}", "the average of {x}")),
)  # fmt: skip
_ON_ONE: tuple[_Wordings, ...] = (
    ("import math\nprint(math.factorial({x}))", (), ("the factorial of {x}", "{x} factorial")),
    ("import math\nprint(math.sqrt({x}))", (), ("the square root of {x}", "the root of {x}")),
    ("print(bin({x}))", ("write {x} in binary", "convert {x} to binary"), ("{x} in binary",)),
    ("print(hex({x}))", ("convert {x} to hex",), ("{x} in hexadecimal", "the hex form of {x}")),
    ("print({x} ** 2)", ("square {x}",), ("the square of {x}", "{x} squared")),
)  # fmt: skip
_ON_TWO = (
    ("print({a} * {b})", ("{a} times {b}", "{a} multiplied by {b}", "the product of {a} and {b}")),
    ("print({a} + {b})", ("{a} plus {b}", "the sum of {a} and {b}", "{a} and {b} together")),
    ("print({a} - {b})", ("{a} minus {b}", "{a} less {b}", "{a} take away {b}")),
    ("print({a} / {b})", ("{a} divided by {b}", "{a} over {b}")),
    ("print({a} % {b})", ("{a} modulo {b}", "{a} mod {b}", "the remainder of {a} by {b}")),
    ("print({a} ** {b})", ("{a} to the power of {b}", "{a} to the power {b}", "{a} raised to {b}")),
    ("print({b} * {a} / 100)", ("{a} percent of {b}", "{a}% of {b}")),
)  # fmt: skip
_TO_COMPUTE = ("compute {x}", "calculate {x}", "evaluate {x}", "work out {x}", "run {x}")
_TO_RUN = ("run {x} in Python", "execute {x}", "execute this Python code: {x}", "run {x}")
_SIGNS = ("+", "-", "*", "*", "/", "//", "//", "%", "**")
_TOOLS = (
    "with Python", "in Python", "using Python", "with code", "using code", "by running code",
    "by Python", "with your Python tool", "in the interpreter", "with a script", "programmatically",
)  # fmt: skip
_APART = (
    "{x}? Use Python.", "{x}. Use Python.", "{x}? Run code.", "{x}, by Python?", "python: {x}",
    "{x}. Run it in Python.", "use Python: {x}", "{x} (python)", "{x} in python pls", "{x}",
    "{x}? Run it in Python, please.", "use Python to get {x}", "use code to work out {x}",
    "let Python tell me {x}", "write code for {x}", "{x} – compute it, do not guess.",
    "I want {x}, computed exactly.", "have your code tool find {x}", "Python, please: {x}",
)  # fmt: skip


def expression(rng: Random) -> str:
    """An arithmetic expression in the notation of both people and programs."""
    low, high = (2, 99) if rng.random() < 0.5 else (100, 99_999)
    count = rng.choice((2, 2, 2, 2, 3, 4))
    numbers = [str(rng.randint(low, high)) for _ in range(count)]
    if rng.random() < 0.15:
        numbers[0] = f"{numbers[0]}.{rng.randint(1, 99)}"
    signs = [rng.choice(_SIGNS) for _ in numbers[1:]]
    if "**" in signs:
        numbers, signs = [numbers[0], str(rng.randint(2, 64))], ["**"]
    gap = rng.choice((" ", " ", ""))
    text = numbers[0]
    for at, (sign, number) in enumerate(zip(signs, numbers[1:], strict=True)):
        text = f"({text})" if at and rng.random() < 0.4 else text
        text = f"{text}{gap}{sign}{gap}{number}"
    return text


def computed(rng: Random) -> tuple[str, str]:
    """A request in words or signs, and the code that prints the result."""
    draw = rng.random()
    if draw < 0.3:
        given = expression(rng)
        text = _asked(rng, given, _TO_COMPUTE, ("{x}", "the value of {x}"))
        return text, f"print({copy(given)})"
    if draw < 0.42:
        code, said = rng.choice(_ON_TWO)
        pair = {"a": str(rng.randint(2, 99)), "b": str(rng.randint(2, 10 ** rng.randint(1, 5)))}
        text = _written(rng, code, pair) or _asked(
            rng, rng.choice(said).format(**pair), ("calculate {x}",), ("{x}",)
        )
        return text, fill(rng, code, {name: copy(of) for name, of in pair.items()})
    if draw < 0.66:
        code, verbs, nouns = rng.choice(_ON_TEXTS)
        given = _text(rng)
        shown = quoted(rng, given, 0.6 if " " not in given else 1.0)
    elif draw < 0.88:
        code, verbs, nouns = rng.choice(_ON_NUMBERS)
        given = ", ".join(str(rng.randint(1, 999)) for _ in range(rng.randint(2, 6)))
        shown = given
    elif draw < 0.95:
        code, verbs, nouns = rng.choice(_ON_ONE)
        given = shown = str(rng.randint(2, 999))
    else:
        given = _snippet(rng)
        fence = given if rng.random() < 0.3 else f"`{given}`"
        text = request(rng, {"x": fence}, verbs=_TO_RUN, nouns=("the output of {x}",), tails=False)
        return text, copy(given)
    text = _written(rng, code, {"x": shown}) or _asked(rng, shown, verbs, nouns)
    return text, code.replace("{x}", copy(given))


def _written(rng: Random, code: str, values: Mapping[str, str]) -> str:
    """A handwritten request for this code, or sometimes nothing."""
    if rng.random() < 0.4:
        return ""
    return one_of(rng, phrasings.python_asks()[code], values)


def _asked(rng: Random, shown: str, verbs: tuple[str, ...], nouns: tuple[str, ...]) -> str:
    """The request, with the tool usually in the same sentence, otherwise next to it."""
    if rng.random() < 0.35:
        form = rng.choice(_APART).replace("{x}", rng.choice((*verbs, *nouns)))
        form = rng.choice((form, form[:1].upper() + form[1:]))
        return form.replace("{x}", shown)
    tool = rng.choice(_TOOLS)
    questions = tuple(f"what is {noun} {tool}?" for noun in nouns if not noun.startswith("how"))
    questions += tuple(f"{noun}? Compute it {tool}." for noun in nouns)
    said = [tuple(f"{phrase} {tool}" for phrase in phrases) for phrases in (verbs, nouns)]
    return request(
        rng, {"x": shown}, verbs=said[0], nouns=said[1], questions=questions, tails=False
    )


def _text(rng: Random) -> str:
    return rng.choice(
        (words.word, words.capital, words.person, words.nonce, words.made_up,
         lambda rng: samples.prose(rng, 2, 4).replace('"', "").replace("\\", "") or "so",
         lambda rng: natural.filled(rng, "{N}"))
    )(rng)  # fmt: skip


def _snippet(rng: Random) -> str:
    word, number = words.word(rng), rng.randint(2, 99)
    return rng.choice(
        (f'print("{word}")', f"print({expression(rng)})", f"print(len('{word}') * {number})",
         f"print([n * {number} for n in range({rng.randint(2, 9)})])", f"x = {number}; print(x)",
         f'print("{word}" * {rng.randint(2, 5)})', f"print(sum(range({number})))")
    )  # fmt: skip


def printed(rng: Random) -> str:
    """The output of some code, on one line."""
    several = [rng.randint(1, 999) for _ in range(rng.randint(2, 5))]
    return rng.choice(
        (words.number_text(rng), words.number_text(rng), str(rng.randint(10**5, 10**12)),
         f"{rng.randint(0, 9999)}.{rng.randint(1, 10**6)}", words.word(rng), words.nonce(rng),
         str(several),
         listed(rng, [words.word(rng) for _ in range(2)]), rng.choice(("True", "False")),
         words.word(rng).upper(), f"-{rng.randint(1, 999)}", hex(rng.randint(20, 9999)))
    )  # fmt: skip


def failure(rng: Random) -> str:
    """The last line of a traceback."""
    word = words.word(rng)
    return rng.choice(
        (f"NameError: name '{word}' is not defined", "ZeroDivisionError: division by zero",
         f"ModuleNotFoundError: No module named '{word}'", f"TypeError: {natural.phrase(rng)}",
         f"ValueError: {natural.phrase(rng)}", f"KeyError: '{word}'", "SyntaxError: invalid syntax",
         f"RuntimeError: {natural.phrase(rng)}", "TimeoutError: the time limit is exceeded")
    )  # fmt: skip
