"""Requests to convert Markdown to HTML, with the Markdown quoted, fenced or bare."""

from random import Random

from harmony.conversation import FunctionTool
from training.data import natural
from training.data.documents import document
from training.data.phrases import fill, template
from training.data.showing import FENCES, QUOTES, Pairs, between
from training.data.spans import copy
from training.data.task import Ask, parameter_names

_TEMPLATE_SHARE = 0.5
_MARKS = "*_#[~>|<"
_TAGS = (
    ("```markdown\n", "\n```"), ("```md\n", "\n```"), ("<md>\n", "\n</md>"),
    ("<markdown>\n", "\n</markdown>"), ("<source>", "</source>"),
)  # fmt: skip


def markdown(rng: Random, tool: FunctionTool) -> Ask:
    """A request to convert one or several lines of Markdown to HTML."""
    asked = _template(rng) if rng.random() < _TEMPLATE_SHARE else _framed(rng)
    before, _, after = asked.partition("{m}")
    inside = bool(after.strip(".?!")) and not after.startswith("{")
    source = document(rng, one_line=inside and rng.random() < 0.9)
    shown = _within(rng, source) if inside else _apart(rng, source, closed=before.endswith("{j}"))
    joint = rng.choice(("\n\n", "\n\n", "\n"))
    if shown != source or "\n" not in source:
        joint = rng.choice((" ", "\n", "\n\n"))
    if shown == source and after.startswith("{j}"):
        joint = "\n\n"
    text = fill(rng, asked, {"m": shown, "j": joint})
    if not inside and not after.startswith("{"):
        text = text[: text.rindex(shown) + len(shown)]
    return Ask(text, {parameter_names(tool)[0]: copy(source)})


def _within(rng: Random, source: str) -> str:
    """Markdown inside a sentence: in quotes, or bare if its marks show its ends."""
    if source[0] in "*_~[<" and source[-1] in "*_~])>" and rng.random() < 0.3:
        return source
    return _between(rng, source, (*QUOTES, ("<md>", "</md>")))


def _apart(rng: Random, source: str, *, closed: bool) -> str:
    """Markdown before or after the request: bare, fenced or in quotes."""
    quoting = source[0] == source[-1] and source[0] in "\"'`" and not source.startswith("```")
    bare = 0.65 if "\n" in source and closed else 0.45
    if not quoting and rng.random() < bare:
        return source
    return _between(
        rng, source, (*FENCES, *_TAGS) if "\n" in source else (*QUOTES, *FENCES, *_TAGS)
    )


def _between(rng: Random, source: str, pairs: Pairs) -> str:
    """The source between two signs, which are those of code only if the source has marks itself."""
    if not any(mark in source for mark in _MARKS):
        pairs = tuple(pair for pair in pairs if pair[0] not in {"`", "```\n", "~~~\n"})
    return between(rng, source, pairs)


def _framed(rng: Random) -> str:
    """A request composed of phrases before and after the Markdown."""
    draw = rng.random()
    if draw < 0.3:
        parts = [rng.choice(_INSIDE)]
        if rng.random() < 0.5:
            parts[0] = parts[0].rstrip(".?") + rng.choice(_PURPOSES) + parts[0][-1]
        if rng.random() < 0.5:
            parts.append(rng.choice(_REMARKS))
    elif draw < 0.55:
        parts = [rng.choice(_STATED), rng.choice(_WISHES)]
    elif draw < 0.75:
        parts = [rng.choice(_WISHES).rstrip(".?!") + ":{j}{m}"]
    elif draw < 0.88:
        parts = ["{m}{j}" + rng.choice((*_WISHES, *_AFTER))]
    else:
        parts = [rng.choice(_LEADS) + "{j}{m}{j}" + rng.choice((*_WISHES, *_AFTER))]
    if not parts[0].startswith("{m}") and rng.random() < 0.2:
        parts.insert(0, rng.choice(_REMARKS))
    text = natural.filled(rng, " ".join(parts))
    draw = rng.random()
    if draw < 0.12:
        return text.lower()
    return natural.capitalised(text) if draw < 0.85 else text


_INSIDE = (
    "convert {m}.", "convert {m} to HTML.", "turn {m} into HTML.", "render {m} as HTML.",
    "make HTML of {m}.", "please put {m} into tags.", "give me the HTML for {m}.",
    "could you translate {m} to HTML?", "what does {m} look like in HTML?", "{m} in HTML, please.",
    "{m} as tags?", "how would I write {m} with HTML tags?", "I need {m} in HTML.",
    "HTML of {m} wanted.", "what is {m} after conversion?", "I'd love to have {m} as web markup.",
    "change {m} from Markdown to HTML.", "run {m} through your converter.", "md2html {m}.",
    "would {m} work as HTML?", "show {m} the way a browser wants it.", "do {m} in HTML.",
    "take {m} and write it in HTML.", "rewrite {m} in HTML.", "from {m}, make HTML.",
    "can {m} be shown on a web page?", "let me see {m} in HTML.", "can u htmlify {m}?",
    "the Markdown {m} must become HTML.", "we want {m} on our page, in HTML.", "render {m}.",
    "in HTML, how do I say {m}?", "the text {m} is Markdown; I want HTML.", "tags for {m}.",
    "produce the markup that {m} stands for.", "{m} -> html.", "translate {m}, it is Markdown.",
    "transform {m} into what a browser reads.", "mach {m} zu HTML.", "convertis {m} en HTML.",
    "convierte {m} a HTML.", "the line {m} in HTML would help.", "process {m} into HTML.",
)  # fmt: skip
_PURPOSES = (
    " for the {N} page", " for {M}", " for our {N} site", ", it is for the {N}", " for my {N}",
    " so that {M} can {V} it", " before {T}", " so I can {V} the page", " for the {A} {N}",
    ", the {N} needs it {T}", " for a page about {S}", " and nothing else", " for me", " now",
    " because {M} asked", " as I have no converter", " right away", " without any comment",
    " for the invitation to our {N}", " for the {w} page", ", please", " if you can", ", thanks",
)  # fmt: skip
_STATED = (
    "my {N} page says {m}.", "I wrote {m} for the {N}.", "{M} sent me {m}.", "here is {m}.",
    "on the {N} it says {m} in Markdown.", "the {N} begins with {m} and should be published.",
    "{M} typed {m} into the {N} form.", "I have {m}.", "the draft reads {m} so far.",
    "{m} it says.",
    "we put {m} in Markdown on the invitation for {M}.", "the first line is {m}, all Markdown.",
    "my note says {m} and {M} wants to publish it.", "there is {m} in our {N} file.", "{m}, okay?",
    "{M} likes {m} as the headline.", "our {N} has the line {m} in its readme.", "see {m}.",
    "I keep {m} in my notes about {S}.", "someone wrote {m} there.", "the label is {m}.",
    "{m} is what {M} wrote.", "{m} stands in our changelog.", "the comment was {m} yesterday.",
    "I typed {m} and only saw the marks.", "this is Markdown: {m}.", "the reply {m} is finished.",
)  # fmt: skip
_WISHES = (
    "I need it as HTML.", "make that HTML.", "the site only shows HTML.", "HTML, please!",
    "can you convert it to HTML?", "our {N} site wants tags.", "please convert.", "convert it!",
    "give me the HTML of this.", "I want HTML tags for it.", "what is that in HTML?",
    "my {N} program reads nothing but HTML.", "could I have the web version?", "to HTML, pls.",
    "please turn it into proper HTML for {M}.", "the browser needs tags for this.", "HTML?",
    "the page for the {N} takes HTML only.", "use your converter on it.", "html pls",
    "change the Markdown to HTML and leave the words alone.", "I would like to see the HTML.",
    "tags instead of Markdown, if you don't mind.", "{M} needs the HTML {T}.", "HTML it is.",
    "publish-ready HTML, please.", "what would a Markdown renderer give?", "render this for me.",
    "wie sieht das in HTML aus?", "en HTML, s'il te plaît.", "lo necesito en HTML.",
    "in HTML, grazie.", "em HTML, por favor.", "graag als HTML.", "som HTML, tack.", "как HTML?",
    "do your Markdown-to-HTML thing.", "translate from Markdown to HTML.", "the HTML would do.",
)  # fmt: skip
_AFTER = (
    "the text above as HTML.", "that, in HTML.", "convert the above.", "^ html", "so, as HTML?",
    "this is what I wrote about the {N}. I need tags.", "that's all of it. Now HTML, please.",
    "end of the text. Convert it to HTML.", "make a web page of what I pasted.", "html ^^",
    "all of that should be HTML {T}.", "could {M} get this as HTML?", "it's Markdown; I want HTML.",
    "these lines go on the {N} page, so make them HTML.", "that was for the {N}; HTML please.",
)  # fmt: skip
_LEADS = (
    "this is the text for the {N}:", "{M} wrote:", "the {N} page:", "here is what I have:",
    "my notes on {S}:", "look:", "Markdown:", "draft for {M}:", "between the signs:", "text:",
    "from our {N} file:", "the message is", "we start with this:", "the following", "given:",
    "so far the {N} page says this:", "I pasted this from the {N} editor:", "source:", "my readme:",
)  # fmt: skip
_REMARKS = (
    "The {N} is for {M}.", "I know no HTML.", "My {N} shows only stars and hashes.", "It's urgent.",
    "{M} is waiting for it.", "We open the {N} {T}.", "Our web editor takes tags only.",
    "Leave the spelling as it is.", "Every word has to stay.", "I have to {V} the {N} too.",
    "The {N} page goes online {T}.", "Don't explain it.", "Thanks!", "Thank you, {M} says hi.",
    "It goes on the {N} site.", "No other text, please.", "The {A} version comes later.",
    "I'll {V} it afterwards.", "My page is about {S}.", "Then {M} can {V} the rest.", "Cheers.",
    "Nobody here knows tags.", "That's one line of {D}.", "You did the last one so well.",
)  # fmt: skip


def _template(rng: Random) -> str:
    """A handwritten request, or a request form around a phrase."""
    return template(
        rng,
        "markdown_to_html",
        verbs=(
            "make HTML of this:{j}{m}", "convert the Markdown below:{j}{m}",
            "turn this Markdown into HTML:{j}{m}", "translate this Markdown to HTML:{j}{m}",
            "produce web markup from this Markdown:{j}{m}", "rewrite as HTML:{j}{m}",
            "use HTML for this Markdown:{j}{m}", "transform this to HTML code:{j}{m}",
            "render the following Markdown:{j}{m}", "export my Markdown to HTML:{j}{m}",
            "change this from Markdown to HTML:{j}{m}", "format this text for a web page:{j}{m}",
            "generate HTML out of it:{j}{m}", "run the converter over my Markdown:{j}{m}",
        ),
        nouns=("the HTML for this Markdown:{j}{m}", "an HTML version of:{j}{m}",
               "HTML from:{j}{m}", "this Markdown as HTML:{j}{m}", "web page code for:{j}{m}",
               "the markup version of this:{j}{m}", "HTML code of the Markdown:{j}{m}"),
        questions=(
            "how does this Markdown look as HTML?{j}{m}", "what HTML does this give?{j}{m}",
            "what is the HTML of{j}{m}", "HTML of this, from Markdown:{j}{m}",
            "here is some Markdown, I need HTML:{j}{m}", "my notes in Markdown, as HTML:{j}{m}",
            "{w} {w} Markdown {w} HTML:{j}{m}", "{w} HTML {w} {w}:{j}{m}", "{w} html {w}:{j}{m}",
            "my {w} begins like this, {w} for a browser:{j}{m}", "{w} {w} web page {w}:{j}{m}",
            "the {w} wants this as HTML:{j}{m}",
            "what would this be in HTML?{j}{m}", "can this Markdown become HTML?{j}{m}",
            "this has to be HTML soon:{j}{m}", "for my website, HTML of this:{j}{m}",
            "a Markdown file begins so, convert it:{j}{m}", "Markdown to HTML:{j}{m}",
            "md -> html:{j}{m}", "the browser wants HTML, I have:{j}{m}",
        ),
        tails=False,
    )  # fmt: skip
