"""Pieces of Markdown: inline marks, blocks of every kind, and pages of several blocks."""

from collections.abc import Callable
from random import Random

from training.data import natural, words
from training.data.natural import capitalised
from training.data.samples import prose

_INLINE = (
    "**{a}**", "*{a}*", "_{a}_", "`{a}`", "~~{a}~~", "__{a}__", "***{a}***", "{a} **{b}**",
    "[{a}](https://{c}.com)", "[{a}](/{c})", "![{a}]({c}.png)", "<https://{c}.org>",
    'He said "{a}" {b}.', '"{a}," says {c}', '{a} ("{b}")', '<b title="{a}">{b}</b>', "`{c}()`",
    '<a href="{c}">{a}</a>', '**"{a}"**', '`{c} = "{a}"`', "{a}: *{b}*, **{c}**", "{a} & {b}",
    "{a} < {b} > {c}", "| {a} | {b} |", "{a}\\_{b}", "_{a}_ and {b}", "{a} – {b}", "H~2~{c}",
    "[{a}][{c}]", '[{a}]({c}.html "{b}")', "{a}'s {b}", "* {a} *", "{a}  ", "**{a}:** {b}",
    '{"{c}": "{a}"}', "{a}[^1]", "~{a}~ `{c}`", "=={a}==", '>> "{a}" <<', "<{c}>", "{a} | {b}",
    "{a} *{b}*, {c}", "*{a}*!", "**{a}**, {b}.", "({a} **{b}**)", "{a}: `{c}`", "We _{a}_ {b}.",
    "`{c}` {a}", "{a}...", "{a} **{c}**ed", "[{a} {b}](#{c})", "[{a}](mailto:{c}@{c}.net)",
    "{a} [{b}](https://www.{c}.org/{c}?q=1) {c}", "**{a} *{b}* {c}**", "`{c} --{c}`",
    "\\*{a}\\*", "{a}<br>{b}", "$ {c} {a}", ":{c}: {a}", "{a} (*{b}*)", "[x] {a}", "[ ] {a}",
    "I {a} 'n' {b}", "`{c}({a})`", "`{c}[0]`", "[![{a}]({c}.svg)]({c})", "{a} -- {b}", "{c}({a})",
)  # fmt: skip
_STARTS = ("#", "##", "###", "####", "-", "*", "+", "1.", "2.", ">", ">>", "- [ ]", "- [x]", "#")
_LANGUAGES = ("", "", "python", "sh", "js", "json", "html", "c")
_CODE = (
    'print("{c}")', "{c} = {n}", "echo {c}", "let {c} = '{n}';", "def {c}(x):\n    return x + {n}",
    "{c}({n})", "for {c} in range({n}):\n    print({c})", '{"{c}": {n}}', "cd {c} && ls",
    "if ({c} > {n}) {\n  {c}();\n}", "<p>{c}</p>", "{c}();", "git push {c}", "# {c}\n{c} -v",
)  # fmt: skip
_RULES = ("---", "***", "___", "* * *")


def document(rng: Random, *, one_line: bool = False) -> str:
    """Markdown of one line or several."""
    draw = rng.random()
    if one_line or draw < 0.36:
        return _line(rng)
    if draw < 0.66:
        return rng.choice(_BLOCKS)(rng)
    parts = [
        rng.choice((_line, _sentence, _sentence))(rng) for _ in range(rng.choice((1, 1, 2, 2, 3)))
    ]
    if rng.random() < 0.5:
        parts.insert(0, f"{rng.choice(_STARTS[:4])} {capitalised(_some(rng, 1, 3))}")
    if rng.random() < 0.4:
        parts.append(rng.choice(_BLOCKS)(rng))
    return rng.choice(("\n", "\n\n", "\n\n")).join(parts)


def _some(rng: Random, low: int, high: int) -> str:
    draw = rng.random()
    if draw < 0.45:
        return natural.phrase(rng)
    text = prose(rng, low, high + 1) if draw < 0.7 else words.words(rng, low, high)
    if rng.random() < 0.3:
        text = capitalised(text)
    if rng.random() < 0.1:
        text = f"{text} {words.number_text(rng)}"
    if rng.random() < 0.08:
        text = f"{text} {words.foreign(rng)}"
    return text


def _sentence(rng: Random) -> str:
    """A sentence, bare or with marks around some of its words."""
    draw = rng.random()
    if draw < 0.45:
        return emphasised(rng)
    if draw < 0.75:
        return natural.sentence(rng)
    return capitalised(prose(rng, 2, 7)) + rng.choice((".", ".", ".", "", "!", "?", ":", ";"))


_AROUND = (
    ("**", "**"), ("**", "**"), ("*", "*"), ("*", "*"), ("_", "_"), ("__", "__"), ("`", "`"),
    ("`", "`"), ("`", "`"), ("~~", "~~"), ("***", "***"), ("[", "](https://{c}.org)"),
    ("[", "](/{c})"), ("[", "](https://www.{c}.com/{c})"), ("[", "](#{c})"), ("<b>", "</b>"),
    ("``", "``"), ("**_", "_**"), ("==", "=="), ("<kbd>", "</kbd>"), ("![", "]({c}.jpg)"),
)  # fmt: skip
_STOPS = ".,:;!?"


def emphasised(rng: Random) -> str:
    """A sentence with one or two marked runs of words, with punctuation inside or outside."""
    parts = natural.sentence(rng).split(" ")
    for _ in range(rng.choice((1, 1, 1, 2))):
        at = rng.randrange(len(parts))
        end = min(len(parts), at + rng.choice((1, 1, 1, 2, 3)))
        run = " ".join(parts[at:end])
        if any(mark in run for mark in "*_`~[<="):
            continue
        stop = run[-1] if run[-1] in _STOPS and rng.random() < 0.75 else ""
        left, right = rng.choice(_AROUND)
        right = right.replace("{c}", words.word(rng))
        parts[at:end] = [f"{left}{run[: len(run) - len(stop)]}{right}{stop}"]
    return " ".join(parts)


def _line(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.3:
        return emphasised(rng)
    if draw < 0.36:
        return f"{rng.choice(_STARTS)} {_sentence(rng)}"
    if draw < 0.44:
        left, right = rng.choice(_AROUND)
        text = natural.phrase(rng)
        text = rng.choice((text, capitalised(text), text.split(" ")[-1]))
        return (
            f"{left}{text}{right.replace('{c}', words.word(rng))}{rng.choice(('', '', '.', '!'))}"
        )
    return _marked(rng)


def _marked(rng: Random) -> str:
    """A piece of Markdown, alone or with some words around it."""
    one, two, three = _some(rng, 1, 3), _some(rng, 1, 3), _some(rng, 1, 4)
    inline = rng.choice(_INLINE).replace("{c}", words.word(rng))
    inline = inline.replace("{a}", one).replace("{b}", two)
    draw = rng.random()
    if draw < 0.45:
        return inline
    if draw < 0.6:
        return f"{three} {inline}"
    if draw < 0.7:
        return f"{inline} {three}{rng.choice(('', '.', '!'))}"
    return f"{rng.choice(_STARTS)} {rng.choice((one, one, inline))}"


def _item(rng: Random, size: int) -> str:
    """The text of a list item."""
    draw = rng.random()
    if draw < 0.3:
        return capitalised(natural.phrase(rng))
    if draw < 0.5:
        return natural.phrase(rng)
    if draw < 0.65:
        return _sentence(rng)
    return _some(rng, 1, size)


def _list(rng: Random, mark: Callable[[int], str]) -> str:
    size = rng.choice((1, 1, 2, 3))
    return "\n".join(f"{mark(at)}{_item(rng, size)}" for at in range(rng.randint(2, 4)))


def _bullets(rng: Random) -> str:
    mark = rng.choice(("- ", "- ", "- ", "* ", "+ ", "  - "))
    return _list(rng, lambda _: mark)


def _numbered(rng: Random) -> str:
    sign = rng.choice((".", ".", ")"))
    return _list(rng, lambda at: f"{at + 1}{sign} ")


def _tasks(rng: Random) -> str:
    return _list(rng, lambda _: rng.choice(("- [ ] ", "- [x] ")))


def _quote(rng: Random) -> str:
    return _list(rng, lambda _: "> ")


def _nested(rng: Random) -> str:
    mark = rng.choice(("- ", "* ", "1. "))
    deep = rng.choice(("  - ", "   - ", "    * "))
    lines = [f"{sign}{_item(rng, 2)}" for sign in (mark, deep, deep, mark)]
    return "\n".join(lines[: rng.randint(2, 4)])


def _table(rng: Random) -> str:
    columns = rng.randint(2, 3)
    made = rng.choice((words.word, natural.phrase, words.capital, words.number_text))
    named = rng.choice((words.word, natural.phrase))
    head = [capitalised(named(rng)) for _ in range(columns)]
    cells = [head, *([made(rng) for _ in range(columns)] for _ in range(rng.randint(1, 2)))]
    rows = [f"| {' | '.join(row)} |" for row in cells]
    rule = rng.choice(
        ("|" + "---|" * columns, "| " + " | ".join(["---"] * columns) + " |",
         "|" + ":--|" * columns, "|" + "-|" * columns)
    )  # fmt: skip
    return "\n".join((rows[0], rule, *rows[1:]))


def _broken(rng: Random) -> str:
    """Lines of one paragraph, as in a poem or an address."""
    end = rng.choice(("  ", "  ", "\\", "<br>", ""))
    parts = [rng.choice((natural.sentence, natural.phrase))(rng) for _ in range(rng.randint(2, 3))]
    return f"{end}\n".join(parts)


def _headed(rng: Random) -> str:
    """A heading over a list, a sentence or both."""
    title = f"{rng.choice(_STARTS[:4])} {capitalised(natural.phrase(rng))}"
    below = rng.choice((_bullets, _numbered, _tasks, _sentence, _quote))(rng)
    parts = [title, _sentence(rng), below] if rng.random() < 0.25 else [title, below]
    return rng.choice(("\n", "\n\n")).join(parts)


def _fence(rng: Random) -> str:
    body = rng.choice(_CODE).replace("{c}", words.word(rng)).replace("{n}", words.number_text(rng))
    fence = rng.choice(("```", "```", "```", "~~~"))
    return f"{fence}{rng.choice(_LANGUAGES)}\n{body}\n{fence}"


def _ruled(rng: Random) -> str:
    """Two blocks with a line or an underlined heading between them."""
    gap = rng.choice(("\n", "\n\n"))
    return f"{_line(rng)}{gap}{rng.choice((*_RULES, '===', '-----'))}{gap}{_sentence(rng)}"


def _links(rng: Random) -> str:
    mark = rng.choice(("- ", "* ", "1. ", ""))
    lines = [f"{mark}[{_some(rng, 1, 2)}](https://{words.word(rng)}.org)" for _ in range(2)]
    return "\n".join(lines)


_BLOCKS: tuple[Callable[[Random], str], ...] = (
    _bullets, _bullets, _numbered, _numbered, _tasks, _quote, _nested, _table, _fence, _fence,
    _ruled, _links, _bullets, _headed, _headed, _broken,
)  # fmt: skip
