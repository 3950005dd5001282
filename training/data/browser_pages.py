"""Pages, search results and finds as OpenAI's reference browser shows them (`simple_browser`).

A display has a cursor in brackets, the title, the lines in view, and every line with its number.
"""

import re
from collections.abc import Sequence
from random import Random

from training.data import natural, phrasings, places, samples, words
from training.data.phrases import fill
from training.data.spans import copy

_KINDS = (
    "Lake {x}", "Mount {x}", "{x} Bridge", "{x} University", "the {x} river", "{x}", "{x}", "{x}",
    "{x} Tower", "{x} Museum", "Castle {x}", "the {x} Society", "{x} Airport", "Port {x}",
    "{x} {y}", "the village of {x}", "{x} Island", "the {x} festival", "{x} Motors", "{y} {x}",
    "{x} & {y}", "{x} of {y}", "{z} {x}", "{x} {z}", "{z} in {x}", "{z}", "the {x} {z}", "{x}-{y}",
)  # fmt: skip
_SITES = (
    "encyclopedia", "official site", "guide", "facts", "archive", "news", "history", "review",
    "home", "blog", "shop", "maps", "tickets", "forum", "wiki", "overview", "2026", "FAQ", "photos",
)  # fmt: skip
_SEPARATORS = (" – ", " | ", " - ", ": ", " — ", " · ", " ", ", ")
_ENDINGS = (
    "com", "com", "org", "net", "info", "de", "io", "example", "edu", "co.uk", "org.uk", "fr",
    "gov",
    "com.au", "dev", "museum", "ac.jp", "eu", "app", "travel", "or.at", "co",
)  # fmt: skip
_HOSTS = ("", "", "", "www.", "www.", "docs.", "en.", "blog.", "shop.", "news.", "api.", "m.")
_FILES = ("", "", "", "", "/", ".html", ".php", ".pdf", ".htm")
_VIEW = 16
FIRST_RESULT = 3
"""The line of the first search result."""


def topic(rng: Random) -> str:
    """A topic of a page."""
    draw = rng.random()
    if draw < 0.35:
        named = {"p": places.named(rng), "x": rng.choice((words.capital, words.nonce))(rng)}
        return fill(rng, rng.choice(phrasings.lines("topics")), named)
    if draw < 0.42:
        return samples.prose(rng, 2, 4)
    if draw < 0.55:
        return natural.phrase(rng)
    if draw < 0.65:
        where = rng.choice(("in", "in", "of", "near", "around", "from", "at", "for", "on"))
        return f"{natural.phrase(rng)} {where} {places.named(rng)}"
    name = rng.choice((words.capital, words.capital, places.named, words.person))(rng)
    thing = natural.filled(rng, rng.choice(("{N}", "{S}", "{A} {S}", "{w}", "{N} {S}")))
    return fill(rng, rng.choice(_KINDS), {"x": name, "y": words.capital(rng), "z": thing})


def url(rng: Random) -> str:
    """A URL, with or without a path."""
    name = rng.choice((words.word, words.word, words.made_up))(rng)
    name = f"{name}-{words.word(rng)}" if rng.random() < 0.15 else name
    host = f"{rng.choice(_HOSTS)}{name}.{rng.choice(_ENDINGS)}"
    parts = [_segment(rng) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]
    path = "".join(f"/{part}" for part in parts) + (rng.choice(_FILES) if parts else "")
    if parts and rng.random() < 0.1:
        path += f"{rng.choice('?#')}{words.word(rng)}={rng.randint(1, 99)}"
    return f"{'http' if rng.random() < 0.1 else 'https'}://{host}{path}"


def _segment(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.6:
        return words.word(rng)
    return words.identifier(rng) if draw < 0.85 else str(rng.randint(1, 10 ** rng.randint(1, 4)))


def titled(rng: Random, about: str) -> str:
    """The title of a page about a topic, usually with the site or other words around it."""
    draw = rng.random()
    if draw < 0.15:
        return about
    if draw < 0.5:
        return fill(rng, rng.choice(phrasings.lines("page_titles")), {"q": about})
    other = rng.choice((rng.choice(_SITES), natural.phrase(rng), words.capital(rng)))
    pair = (about, other) if draw < 0.75 else (other, about)
    return rng.choice(_SEPARATORS).join(pair)


def display(
    rng: Random, cursor: int, title: str, lines: Sequence[str], first: int = 0, *, last: int = 0
) -> str:
    """The display of a page; `last` is the last line of the whole page, drawn if it is 0."""
    end = first + len(lines) - 1
    whole = last or (end if rng.random() < 0.6 else end + rng.randint(1, 400))
    return f"[{cursor}] {title}\n**viewing lines [{first} - {end}] of {whole}**\n\n" + numbered(
        lines, first
    )


def numbered(lines: Sequence[str], first: int) -> str:
    """Lines with their numbers."""
    return "\n".join(f"L{first + at}: {line}" for at, line in enumerate(lines))


def results(rng: Random, cursor: int, query: str, about: str, statement: str) -> tuple[str, int]:
    """Search results, and the line of the link that is about the topic.

    Some of the other results share a word with it.
    """
    count = rng.choice((1, 2, 2, 3, 3, 3, 4, 5, 6, 9))
    right = rng.randrange(count)
    lines = ["", "# Search Results", ""]
    for at in range(count):
        title = titled(rng, about if at == right else _related_topic(rng, about))
        host = url(rng).split("/")[2]
        note = statement if at == right else noted(rng)
        lines.append(f"  * 【{at}†{title}†{host}】 {note}")
    shown = display(rng, cursor, query, lines, last=len(lines) - 1)
    return shown, right + FIRST_RESULT


def noted(rng: Random) -> str:
    """The summary of a search result that does not answer the question."""
    if rng.random() < 0.5:
        return rng.choice(phrasings.lines("result_notes"))
    return _paragraph(rng, 2)


def _related_topic(rng: Random, about: str) -> str:
    """A different topic, which may share a word with this one."""
    if rng.random() < 0.8:
        return topic(rng)
    return f"{rng.choice(about.split())} {rng.choice((natural.phrase, words.capital))(rng)}"


def quotation(shown: str, begin: str, line: int) -> str:
    """The end of a line from `begin` on, and its number as the lines after it show it.

    The model copies forwards, so it reaches the next line's number, but not the line's own. The
    last line has the number of the view's end.
    """
    text = re.findall(rf"^L{line}: (.*)$", shown, re.MULTILINE)[0]
    text = text[text.index(begin) :]
    if f"\nL{line + 1}: " in shown:
        return copy(f"{text}\nL{line + 1}") + f" is next, so it is L{line}"
    view = re.findall(r"viewing lines \[\d+ - \d+\]", shown)[0]
    return f"{copy(text)}\nEnd of {copy(view)}, so it is L{line}"


def _paragraph(rng: Random, most: int) -> str:
    return " ".join(natural.sentence(rng) for _ in range(rng.randint(1, most)))


def page(
    rng: Random, cursor: int, statement: str, address: str = "", *, begins: bool = False
) -> tuple[str, int]:
    """A page, and the number of the line with a statement (the first line if `begins`)."""
    address = address or url(rng)
    title = titled(rng, topic(rng))
    head = rng.choice(
        ((), (title,), (title,), (f"# {title}", ""), (title, f"URL: {address}", ""), (title, ""))
    )
    body: list[str] = []
    for _ in range(rng.choice((0, 1, 2, 2, 3, 3, 4, 6, 8, 12))):
        body += _block(rng)
    at = 0 if begins else rng.randint(0, len(body))
    body = [*body[:at], statement, *body[at:]]
    first = 0
    if not begins and rng.random() < 0.15:
        first, head = rng.randint(3, 150), ()
    low = max(0, at - rng.randrange(_VIEW)) if len(body) > _VIEW and first else 0
    lines = [*head, *body[low : max(at + 1, low + _VIEW)]]
    shown = display(rng, cursor, f"{title} ({address})", lines, first)
    return shown, first + len(head) + at - low


def _block(rng: Random) -> list[str]:
    """A paragraph, a heading, a list item or a link, perhaps with an empty line."""
    draw = rng.random()
    if draw < 0.65:
        line = _paragraph(rng, rng.choice((1, 1, 2, 3)))
    elif draw < 0.75:
        line = f"{'#' * rng.randint(1, 3)} {natural.phrase(rng)}"
    elif draw < 0.88:
        line = f"  * {natural.sentence(rng)}"
    else:
        line = link(rng, rng.randint(0, 9), natural.phrase(rng))
    return [line, ""] if rng.random() < 0.25 else [line]


def link(rng: Random, number: int, text: str) -> str:
    """A line with a link."""
    host = f"†{url(rng).split('/')[2]}" if rng.random() < 0.5 else ""
    before, after = rng.choice(
        (("", ""), ("  * ", ""), ("See ", "."), ("", f" {natural.phrase(rng)}"))
    )
    return f"{before}【{number}†{text}{host}】{after}"


def found(rng: Random, cursor: int, pattern: str, line: int) -> str:
    """The output of a search in a page: each match with the lines after it."""
    parts = [f"[{cursor}] Find results for text: `{pattern}` in `{titled(rng, topic(rng))}`"]
    for at in range(rng.choice((1, 1, 2, 3))):
        statement = f"{natural.phrase(rng)} {pattern} {natural.phrase(rng)}."
        after = [_paragraph(rng, 1) for _ in range(rng.randint(0, 3))]
        parts.append(f"# 【{at}†match at L{line}】\n{numbered([statement, *after], line)}")
        line += rng.randint(4, 60)
    return "\n\n".join(parts)
