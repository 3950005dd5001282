"""User requests for the built-in tools."""

from random import Random

from training.data import phrasings
from training.data.phrases import one_of, request

_VERBS = {
    "search": (
        "search the web for {q}", "look up {q} online", "google {q}", "look for {q} on the net",
        "find information on {q}", "run a web search for {q}", "check the internet for {q}",
        "see what the web says about {q}", "dig up something on {q}", "research {q}",
        "find me something about {q}", "search online for {q}", "browse for {q}", "look {q} up",
        "find pages on {q}", "search for {q}", "read up on {q} online", "search {q}",
    ),
    "fact": (
        "find out the {a} of {q}", "look up the {a} of {q}", "search for the {a} of {q}",
        "check online what the {a} of {q} is", "look up {q} and tell me the {a}",
        "find the {a} of {q} on the web", "search the web for {q} and report its {a}",
        "tell me the {a} of {q}", "browse for the {a} of {q}", "get me the {a} of {q} online",
    ),
    "open": (
        "open {u}", "go to {u}", "visit {u}", "read {u}", "load {u}", "navigate to {u}",
        "browse to {u}", "have a look at {u}", "open the page {u}", "look at the site {u}",
        "summarise {u}", "open {u} and tell me what it says", "go to {u} and read it",
        "visit {u} and sum it up", "fetch {u}", "check {u}", "pull up {u}", "read the page at {u}",
    ),
    "find": (
        "find {f}", "look for {f} on the page", "search the page for {f}", "find {f} on it",
        "locate {f} there", "find the place that says {f}", "search it for {f}",
        "tell me where it mentions {f}", "check whether it mentions {f}", "find {f} in the text",
        "see if {f} is on that page", "jump to {f}", "look whether the page has {f}",
    ),
    "both": (
        "open {u} and find {f}", "look for {f} on {u}", "find {f} on {u}", "go to {u}, find {f}",
        "check whether {u} mentions {f}", "visit {u} and search it for {f}",
        "search the page {u} for {f}", "read {u} and tell me where it says {f}",
    ),
}  # fmt: skip
_NOUNS = {
    "search": (
        "web results for {q}", "search results on {q}", "links about {q}", "pages on {q}",
        "something from the internet on {q}", "news about {q}", "web pages about {q}",
        "articles on {q}", "what the internet knows about {q}", "a web search for {q}",
    ),
    "fact": (
        "the {a} of {q}", "{q}'s {a}", "the {a} of {q} from the web",
        "the {a} of {q}, with a source",
        "a page that gives the {a} of {q}", "the {a} that {q} has",
    ),
    "open": ("the page {u}", "what is on {u}", "the text of {u}", "the content of {u}", "{u}"),
    "find": ("the line with {f}", "the part about {f}", "the place where it says {f}"),
    "both": ("the line of {u} with {f}", "the part of {u} about {f}"),
}  # fmt: skip
_QUESTIONS = {
    "search": ("what does the web say about {q}?", "are there pages about {q}?",
    "anything on {q}?"),
    "fact": ("what is the {a} of {q}?", "what's the {a} of {q}?", "which {a} does {q} have?"),
    "open": ("what does {u} say?", "what is {u} about?", "what can I read on {u}?"),
    "find": ("does it mention {f}?", "where does it say {f}?", "is {f} on the page?",
             "where on the page is {f}?", "does the page say {f}?", "which line has {f}?"),
    "both": ("does {u} mention {f}?", "where does {u} say {f}?", "is {f} anywhere on {u}?"),
}  # fmt: skip


def ask(rng: Random, kind: str, **values: str) -> str:
    """A request of the given kind, handwritten or composed."""
    if kind not in _VERBS or rng.random() < 0.55:
        return one_of(rng, phrasings.builtin_asks()[kind], values)
    return request(
        rng,
        values,
        verbs=_VERBS[kind],
        nouns=_NOUNS[kind],
        questions=_QUESTIONS[kind],
        tails=rng.random() < 0.5,
    )
