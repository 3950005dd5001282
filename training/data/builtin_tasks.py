"""Tasks for the built-in tools: search, open and find with the browser, compute with Python."""

import re
from collections.abc import Callable
from random import Random

from harmony.conversation import (
    Answer,
    Builtin,
    BuiltinCall,
    BuiltinResult,
    ConversationItem,
    Reasoning,
    User,
)
from training.data import browser_pages, natural, page_facts, python_asks, words
from training.data.browser_pages import topic
from training.data.builtin_asks import ask
from training.data.calls import NO_TOOL, past, small_talk
from training.data.page_facts import Fact
from training.data.phrases import quoted
from training.data.spans import copy, to_json
from training.data.task import Setting, Task

SEARCH, OPEN, FIND, PYTHON = "browser.search", "browser.open", "browser.find", "python"


def task(rng: Random, setting: Setting) -> Task:
    """A task for an available built-in tool, at any stage, or for one that is not available."""
    makers: dict[Builtin, Callable[[Random, Setting], Task]] = {"browser": _web, "python": _python}
    lacking = [name for name in makers if name not in setting.builtin]
    draw = rng.random()
    if lacking and draw < 0.08:
        return _refused(rng, setting, lacking[0])
    if draw < 0.17:
        return _chat(rng, setting)
    return makers[rng.choice(setting.builtin)](rng, setting)


def _refused(rng: Random, setting: Setting, name: Builtin) -> Task:
    if name == "browser":
        text = ask(rng, "search", q=topic(rng))
    else:
        text = f"Use Python. {python_asks.computed(rng)[0]}"
    thought = _thought(setting, "No tool needed.", "There is no tool for this. Say so briefly.")
    return Task("no tool", (User(text),), (thought, Answer(NO_TOOL)))


def _chat(rng: Random, setting: Setting) -> Task:
    text, said = small_talk(rng)
    medium = "This is just small talk. No tool is needed, so answer briefly."
    return Task(
        "no call", (User(text),), (_thought(setting, "No tool needed.", medium), Answer(said))
    )


def _fact_asked(rng: Random, fact: Fact) -> str:
    if fact.named:
        return ask(rng, "fact", a=fact.attribute, q=fact.topic)
    return ask(rng, "unnamed", q=fact.topic)


def _thought(setting: Setting, short: str, medium: str) -> Reasoning:
    if setting.effort == "low":
        return Reasoning(short)
    if setting.effort == "medium":
        return Reasoning(medium)
    return Reasoning(
        f"Let me think about what is wanted here and what I have for it. {medium} "
        "That is the next step, and nothing else is needed before it, so I write it now."
    )


def _call(name: str, **arguments: object) -> BuiltinCall:
    return BuiltinCall(name, to_json(arguments))


def _web(rng: Random, setting: Setting) -> Task:
    makers = (
        _search, _search, _research, _research, _research, _visit, _consult, _consult, _locate,
        _locate, _follow,
    )  # fmt: skip
    made = rng.choice(makers)(rng, setting)
    return Task(made.skill, (*past(rng, (), 0.08), *made.turns), made.reply)


def _search(rng: Random, setting: Setting) -> Task:
    """A request that asks only for a search."""
    about = topic(rng)
    text = ask(rng, "search", q=quoted(rng, about, 0.2))
    thought = _thought(setting, "Search the web.", f"I search the web for {copy(about)}.")
    call = _call(SEARCH, query=copy(about))
    if rng.random() < 0.65:
        return Task("browser.search", (User(text),), (thought, call))
    statement = natural.sentence(rng)
    shown, line = browser_pages.results(rng, 0, about, about, statement)
    seen = (User(text), thought, call, BuiltinResult(SEARCH, shown))
    said = f"I found this: {copy(statement)}【0†L{line}】"
    return _cited(setting, seen, browser_pages.quotation(shown, about, line), said)


def _research(rng: Random, setting: Setting) -> Task:
    """A search for a fact: opens the right link and cites the line with the fact."""
    fact = page_facts.drawn(rng)
    medium = f"I search the web for {copy(fact.topic)}"
    medium += f" to learn the {copy(fact.attribute)}." if fact.named else "."
    thought = _thought(setting, "Search the web.", medium)
    call = _call(SEARCH, query=fact.query)
    turns: tuple[ConversationItem, ...] = (User(_fact_asked(rng, fact)),)
    draw = rng.random()
    if draw < 0.25:
        return Task("browser.search", turns, (thought, call))
    turns = (*turns, thought, call) if rng.random() < 0.7 else (*turns, call)
    at = rng.choice((0, 0, 0, 0, 0, 1, 1, 2))
    for seen in range(at):
        vain, *_ = browser_pages.results(
            rng, seen, fact.query, topic(rng), browser_pages.noted(rng)
        )
        turns = (*turns, BuiltinResult(SEARCH, vain), call)
    snippet = rng.random() < 0.25
    note, begin = fact.line(rng) if snippet else (browser_pages.noted(rng), fact.topic)
    shown, line = browser_pages.results(rng, at, fact.query, fact.topic, note)
    turns = (*turns, BuiltinResult(SEARCH, shown))
    quoted_line = browser_pages.quotation(shown, begin, line)
    if snippet:
        return _cited(setting, turns, quoted_line, fact.answered(at, line))
    link = line - browser_pages.FIRST_RESULT
    chosen = f"{quoted_line}, link {link}."
    opening = _thought(setting, f"Link: {chosen}", f"I open the right link: {chosen}")
    opened = _call(OPEN, cursor=at, id=link)
    if draw < 0.6:
        return Task("browser.open", turns, (opening, opened))
    stated, begin = fact.line(rng)
    page, line = browser_pages.page(rng, at + 1, stated)
    step = (opening, opened) if rng.random() < 0.7 else (opened,)
    turns = (*turns, *step, BuiltinResult(OPEN, page))
    quoted_line = browser_pages.quotation(page, begin, line)
    return _cited(setting, turns, quoted_line, fact.answered(at + 1, line))


def _visit(rng: Random, setting: Setting) -> Task:
    """Open a page by its URL and report its first statement."""
    url = browser_pages.url(rng)
    opening, call = _opening(setting, url)
    turns: tuple[ConversationItem, ...] = (User(ask(rng, "open", u=url)),)
    if rng.random() < 0.55:
        return Task("browser.open", turns, (opening, call))
    statement = natural.sentence(rng)
    page, line = browser_pages.page(rng, 0, statement, url, begins=True)
    turns = (*turns, opening, call) if rng.random() < 0.7 else (*turns, call)
    turns = (*turns, BuiltinResult(OPEN, page))
    said = f"The page says: {copy(statement)}【0†L{line}】"
    return _cited(setting, turns, browser_pages.quotation(page, statement, line), said)


def _consult(rng: Random, setting: Setting) -> Task:
    """Open a page by its URL and report a fact from it."""
    fact, url = page_facts.drawn(rng), browser_pages.url(rng)
    turns: tuple[ConversationItem, ...] = (User(_consulted(rng, fact, url)),)
    opening, call = _opening(setting, url)
    if rng.random() < 0.25:
        return Task("browser.open", turns, (opening, call))
    stated, begin = fact.line(rng)
    page, line = browser_pages.page(rng, 0, stated, url)
    turns = (*turns, opening, call) if rng.random() < 0.6 else (*turns, call)
    turns = (*turns, BuiltinResult(OPEN, page))
    return _cited(
        setting, turns, browser_pages.quotation(page, begin, line), fact.answered(0, line)
    )


def _consulted(rng: Random, fact: Fact, url: str) -> str:
    """The request for a fact from a page."""
    if fact.named and rng.random() < 0.6:
        return ask(rng, "consult", u=url, a=fact.attribute, q=fact.topic)
    page = rng.choice((ask(rng, "open", u=url), f"Open {url}.", f"Here is a page: {url}.", url))
    stop = "" if page[-1] in ".?!" else "."
    question = _fact_asked(rng, fact)
    return rng.choice((f"{page}{stop} {question}", f"{question} {page}"))


def _opening(setting: Setting, url: str) -> tuple[Reasoning, BuiltinCall]:
    thought = _thought(setting, "Open the page.", f"I open {copy(url)} with the browser.")
    return thought, _call(OPEN, id=copy(url))


def _locate(rng: Random, setting: Setting) -> Task:
    """Find a text on a page, which usually contains it."""
    url, statement = browser_pages.url(rng), natural.sentence(rng)
    page, line = browser_pages.page(rng, 0, statement, url)
    pattern = _pattern(rng, page)
    shown = quoted(rng, pattern, 0.4)
    if rng.random() < 0.4:
        text = ask(rng, "both", u=url, f=shown)
    else:
        one = ask(rng, "open", u=url)
        stop = "" if one[-1] in ".?!" else "."
        text = (
            f"{one}{stop}{rng.choice((' ', ' Then ', ' After that, '))}{ask(rng, 'find', f=shown)}"
        )
    opening, call = _opening(setting, url)
    draw = rng.random()
    if draw < 0.15:
        return Task("browser.open", (User(text),), (opening, call))
    step = (opening, call) if rng.random() < 0.5 else (call,)
    seen: tuple[ConversationItem, ...] = (User(text), *step, BuiltinResult(OPEN, page))
    thought = _thought(setting, "Find it on the page.", f"I look for {copy(pattern)} on the page.")
    call = _call(FIND, pattern=copy(pattern))
    if draw < 0.75:
        return Task("browser.find", seen, (thought, call))
    seen = (*seen, thought, call)
    if rng.random() < 0.3:
        missing = f"No `find` results for pattern: `{pattern}`"
        said = f"The page does not mention {copy(pattern)}."
        return _final(setting, (*seen, BuiltinResult(FIND, missing)), said)
    result = BuiltinResult(FIND, browser_pages.found(rng, 1, pattern, line))
    return _final(setting, (*seen, result), f"Line {line} mentions {copy(pattern)}【1†L{line}】.")


def _pattern(rng: Random, page: str) -> str:
    """Some consecutive words of the page, or a different text."""
    if rng.random() < 0.5:
        lines = re.findall(r"^L\d+: (.*)", page, re.MULTILINE)
        parts = re.findall(r"[\w'-]+(?: [\w'-]+)*", " / ".join(lines))
        several = rng.choice(parts).split()
        at = rng.randrange(len(several))
        return " ".join(several[at : at + rng.choice((1, 1, 1, 2, 2, 3))])
    makers = (words.word, words.capital, words.nonce, words.person, natural.phrase)
    return rng.choice(makers)(rng)


def _follow(rng: Random, setting: Setting) -> Task:
    """Follow a link of the open page."""
    url, text, number = browser_pages.url(rng), topic(rng), rng.randint(0, 20)
    page, _ = browser_pages.page(rng, 0, browser_pages.link(rng, number, text), url)
    asked = ask(rng, "follow", u=url, x=quoted(rng, text, 0.5))
    opening, call = _opening(setting, url)
    step = (opening, call) if rng.random() < 0.5 else (call,)
    thought = _thought(
        setting, f"Open link {number}.", f"The page on {copy(text)} is link {number}, so I open it."
    )
    turns = (User(asked), *step, BuiltinResult(OPEN, page))
    return Task("browser.open", turns, (thought, _call(OPEN, cursor=0, id=number)))


def _final(setting: Setting, turns: tuple[ConversationItem, ...], said: str) -> Task:
    thought = _thought(setting, "Answer now.", "I have what I need and answer with it.")
    return Task("answer from built-in tool", turns, (thought, Answer(said)))


def _cited(
    setting: Setting, turns: tuple[ConversationItem, ...], quotation: str, said: str
) -> Task:
    """An answer that cites a line, after a thought that finds its number."""
    thought = _thought(setting, f"Line: {quotation}.", f"This line answers it: {quotation}.")
    return Task("answer from built-in tool", turns, (thought, Answer(said)))


def _python(rng: Random, setting: Setting) -> Task:
    """Compute a value: the code, or the answer based on its output."""
    text, code = python_asks.computed(rng) if rng.random() < 0.9 else _computed_as_written(rng)
    thought = _thought(setting, "Run Python.", "I compute this with Python.")
    call = BuiltinCall(PYTHON, code)
    if rng.random() < 0.65:
        return Task("python", (*past(rng, (), 0.08), User(text)), (thought, call))
    turns = (User(text), thought, call) if rng.random() < 0.7 else (User(text), call)
    if rng.random() < 0.12:
        failed = python_asks.failure(rng)
        seen = BuiltinResult(PYTHON, f"Traceback (most recent call last):\n{failed}")
        return _final(setting, (*turns, seen), f"Python failed: {copy(failed)}.")
    printed = python_asks.printed(rng)
    seen = BuiltinResult(PYTHON, printed + rng.choice(("", "\n")))
    return _final(setting, (*turns, seen), f"The result is {copy(printed)}.")


def _computed_as_written(rng: Random) -> tuple[str, str]:
    """A handwritten request for the value of an expression."""
    given = python_asks.expression(rng)
    return ask(rng, "compute", e=given), f"print({copy(given)})"
