"""Facts about topics, and the lines of pages that state them."""

from dataclasses import dataclass
from random import Random

from training.data import natural, phrasings, words
from training.data.browser_pages import topic
from training.data.phrases import fill
from training.data.spans import copy

_STATEMENTS = (
    "The {a} of {q} is {v}.", "{q} has this {a}: {v}.", "Its {a} is {v}.", "{a}: {v}",
    "As of this year, the {a} is {v}.", "Sources give {v} as the {a}.", "* {a} – {v}",
    "Most people know that the {a} of {q} is {v}.", "| {a} | {v} |", "{v} is the {a} of {q}.",
    "**{a}**: {v}", "{q}, whose {a} is {v}, {t}", "With {v} as its {a}, {q} {t}", "{a} ({q}): {v}",
    "Today the {a} is {v}, {t}", "The {a} was measured again and is now {v}.", "{q} ({a} {v}) {t}",
    "According to {y}, the {a} of {q} is {v}.", "{a}  {v}", "Quick facts: {a} {v}, {y}.",
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """A fact about a topic, found on a page; the question may not name the attribute."""

    topic: str
    attribute: str
    value: str
    named: bool

    @property
    def query(self) -> str:
        """The search query."""
        return f"{copy(self.attribute)} of {copy(self.topic)}" if self.named else copy(self.topic)

    def line(self, rng: Random) -> tuple[str, str]:
        """A line that states the fact, perhaps among other sentences, and the start of a quotation.

        A quotation begins with the first word that the question names.
        """
        slots = {"a": self.attribute, "q": self.topic, "v": self.value}
        slots |= {"t": natural.sentence(rng), "y": words.capital(rng)}
        statement = fill(rng, rng.choice(_STATEMENTS), slots)
        parts = [natural.sentence(rng) for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))]
        parts.insert(rng.randint(0, len(parts)), statement)
        places = [statement.find(name) for name in (self.attribute, self.topic)]
        begin = min((at for at in places if at >= 0), default=0) if self.named else 0
        return " ".join(parts), statement[begin:]

    def answered(self, cursor: int, line: int) -> str:
        """The answer with its citation."""
        name = f"The {copy(self.attribute)} of {copy(self.topic)}" if self.named else "The answer"
        return f"{name} is {copy(self.value)}【{cursor}†L{line}】."


def drawn(rng: Random) -> Fact:
    """A random fact."""
    attribute = rng.choice(phrasings.lines("attributes"))
    draw = rng.random()
    if draw < 0.25:
        attribute = words.word(rng) if draw < 0.12 else f"{words.word(rng)} {attribute}"
    return Fact(topic(rng), attribute, _value(rng), rng.random() < 0.75)


def _value(rng: Random) -> str:
    number = words.number_text(rng)
    return rng.choice(
        (number, number, f"{number} {rng.choice(('m', 'km', 'metres', 'kg', 'people', 'years'))}",
         f"{rng.randint(1, 99)},{rng.randint(100, 999)}",
         f"{rng.randint(0, 99)}.{rng.randint(1, 99)}",
         f"${number}", f"{number} €", str(rng.randint(1200, 2030)), words.capital(rng),
         words.person(rng), words.nonce(rng), words.word(rng), natural.filled(rng, "{M}"),
         natural.filled(rng, "{A} {N}"), f"{rng.randint(1, 28)} May {rng.randint(1900, 2030)}")
    )  # fmt: skip
