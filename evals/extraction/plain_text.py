r"""Reduces a final answer to plain lines: no leaked CoT, no markup, and boxes as ⟦content⟧."""

import re

BOX_OPEN, BOX_CLOSE = "⟦", "⟧"
_LONGEST_TEXT = 60_000
_LONGEST_LINE = 3_000
_BESIDE = 100  # characters before and after a box that may belong to it
_DEEPEST = 20

_THOUGHT = r"(?:think|thinking|thought|thoughts|reasoning|scratchpad)"
_UP_TO_ANSWER = re.compile(
    rf"(?si)\A.*(?:<\|channel\|>final[^<]*<\|message\|>|assistantfinal|[<\[]/{_THOUGHT}[>\]])"
)
_FROM_THOUGHT = re.compile(rf"(?si)(?:<\|channel\|>(?:analysis|commentary)|[<\[]{_THOUGHT}[>\]]).*")
_LEAKED = re.compile(r"(?i)[<\[]|assistantfinal")
"""What either of these begins or ends with."""
_DROPPED = re.compile(
    r"<\|[^<>|\s]+\|>"  # special tokens
    r"|^[ \t]*```[ \t]*(?!json|ya?ml|te?xt|latex)\w[^\n]*\n.*?^[ \t]*```[ \t]*$"  # programs
    r"|^[ \t]*(?:[-*_=][ \t]*){3,}$"  # horizontal rules
    r"|~~[^~\n]+~~|<(del|s|strike)>[^<\n]*</\1>"  # struck-out words
    r"|【[^【】\n]{0,60}†[^【】\n]{0,60}】"  # citations, as gpt-oss writes them
    r"|</?(?:b|strong|em|i|u|p|br|span|div|font|code|center|mark|h\d|answer)\b[^<>\n]*>",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_CHARACTERS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    **{0x24B6 + place: ord("A") + place for place in range(26)},
    **dict.fromkeys((0x3000, 0x202F, 0xA0), 0x20),
    **dict.fromkeys((0x2010, 0x2011, 0x2212), 0x2D),
    **dict.fromkeys((0x200B, 0x2060, 0xFEFF, 0xFE0F, 0xAD)),
}
"""Full-width and circled characters, unusual spaces and hyphens, and invisible characters."""
_TAGGED = re.compile(r"(?i)[<\[](final(?:[_ -]?answer)?|answer)[>\]]\s*([^<\n]*?)\s*[<\[]/\1[>\]]")
_BOLD_ROW = re.compile(r"\|(?:[^|\n]*\|)+\s*\*\*([^|*]*\d[^|*]*)\*\*\s*\|\s*\Z")
"""The last row of a table at the end of a text, with its last cell in bold."""
_LINE_MARKS = re.compile(
    r"^(?:\s|>|#{1,6}(?=[\s\w])|[-*+•](?=\s)|[✓✔✅☑\U0001F300-\U0001FAFF])+|[\s∎■□\\]+$"
)
_EMPHASIS = re.compile(r"(?<![\w*])[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?![\w*{])|`")
_ENVIRONMENT = re.compile(
    r"\\(?:begin|end)\{[^{}]*\}(?:\{[lcr|]+\})?|&(?=\s*=)|\\\\(?=\s*(?:$|\\end))"
)
_MARKED = re.compile(r"[\\&*_`]")
"""A character of emphasis or of an environment."""
_ESCAPED = re.compile(r"\\\\(?=[()\[\]]|(?:boxed|text|[dt]?frac|mathbf)\b)")

_MARKUP = re.compile(r"[\\{$*_`~]")
_SPACES = re.compile(r"\\(?:quad|qquad|,|;|:|>|\s)|~")
_NOTHING = re.compile(
    r"\\!|\\(?:left|right|displaystyle|textstyle|bigl?|bigr?|Bigl?|Bigr?)(?![A-Za-z])"
    r"|\\(?:bf|rm|it|sf|small|normalsize|large|Large|LARGE|huge|Huge)(?![A-Za-z])"
    r"|\\(?:color|textcolor|[hv]?phantom|hspace)\*?\s*\{[^{}]*\}"
    r"|\\(?:blacksquare|square|Box|qed|checkmark)(?![A-Za-z])|\\[()\[\]{}]|\\?\$|\*\*|__|`"
)
_THIN_SPACE = re.compile(r"(?<=\d)\\,(?=\d)")
"""A space within the digits of one number."""
_COMMA = re.compile(r"(?:\\text)?\{,\}")
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:bf|it|rm|sf|tt|normal)?|boldsymbol|bm|mbox|hbox"
    r"|boxed|framebox|fbox|operatorname|overline|underline|emph|ce)\s*\{((?:[^{}]|\^\{[^{}]*\})*)\}"
)
_BRACED = re.compile(r"(?<![A-Za-z\\^_}])\{([^{}\\]*)\}")
_CONTENT = r"(?:[^{}\\]|\\.)*+"
for _ in range(4):  # braces within braces
    _CONTENT = rf"(?:[^{{}}\\]|\\.|\{{{_CONTENT}\}}){{0,1000}}+"
_BOX = re.compile(rf"(?s)\\(?:boxed|framebox|fbox)\s*(?:\{{(?P<tex>{_CONTENT})\}}|(?P<digits>\d+))")
"""A box; one that is not closed is none. In TeX, `\boxed 70` is a box, too."""

_TEX_ENDS = r"(?:\s|\\[,;:! ]|~|\{\})*"
_RAISES = r"\^\s*\{?\s*[-+]?(?:\d|[a-zA-Z](?![A-Za-z]))"
_NEGATES = re.compile(rf"(?:^|[=:(\[{{$]|\\[(\[]|\b(?:is|be|get|equals))\s*[-−]{_TEX_ENDS}$")
"""A sign before a box."""
_TAKES_BOX = re.compile(
    r"(?:[+*/·×÷|±∓√≈≠<>≤≥]|[\^_]\s*\{?|\\(?:cdot|times|div|pm|mp|approx|sim|neq?|leq?|geq?)"
    r"|\\(?:log|ln|sin|cos|tan|sqrt|l?vert|lfloor|lceil|left\||pi|theta|phi|alpha|lambda|omega)"
    r"|\\(?:[dtc]?frac|binom)\s*(?:\{[^{}$]*\}\s*)?\{|\\(?:sqrt|log|ln|exp)(?:\[\w*\])?\s*\{"
    r"|[\w}](?:\\left)?\(|(?<![A-Za-z\\])[A-Za-z]"
    rf"|\S\s*[-−]|\d){_TEX_ENDS}$"
)
"""An operator, a function or a factor directly before a box in the same formula."""
_TAKES_BARE = re.compile(
    r"(?:[+/·×÷^±√≈≠<>≤≥]|[\d)]\s*\*|[\w}](?:\\left)?\(|^\s*\d[\d,]*\s*-\s*|(?<=\d)[-−]?"
    r"|\\(?:sqrt|[dtc]?frac|cdot|times)\W*)$"
)
"""The same outside formulas, where a star can be emphasis, and a dash a list."""
_TAKES_WORD = re.compile(
    r"(?i)\b(?:negative|minus|plus|times|twice|thrice|half|double|triple|(?:root|square|cube) of"
    r"|squared?)[\s$]*(?:\\[(\[]\s*)?$"
)
_CHANGES_BOX = re.compile(
    r"[.,]?\d|:\d|[eE][-+]?\d|[a-zπ](?<![mgs])(?![A-Za-z])"
    r"|[\s$]*and (?:a|one)[ -](?:half|third|quarter)"
    rf"|{_TEX_ENDS}(?:(?:\\right)?[)}}]\s*{_RAISES}|{_RAISES}|[⁰¹²³⁴-⁹ⁿ]|_\s*\{{?\s*\d"
    r"|\\(?:cdot|times|div|pm|pi|sqrt|ln|log|[dtc]?frac|binom|[lc]?dots)(?![A-Za-z])|[·×÷√π]"
    r"|[*/]\s*[\d\\]|[-+−±]\s*(?:\d|\\(?!text|quad|mathrm|,|\s)))"
)
"""A power, a base, digits, an operator or a factor directly after a box."""
_CHANGES_IN_MATH = re.compile(
    rf"{_TEX_ENDS}(?:!|[+-]\s*[a-zA-Z]|[a-zA-Z](?![A-Za-z])(?<![mgsLKNJT]))"
)
_CALCULATED = re.compile(r"[-+(]*(?:\d|√|\\(?:[dtc]?frac|[dt]?binom|sqrt)(?![A-Za-z]))")
"""The beginning of a number or of an arithmetic expression."""
_SIZE_AFTER = re.compile(
    r"(?i)(?:[\s~$]|\\[,;:! )\]]|\\text\w*\s*\{)*"
    r"\b((?:dozen|hundred|thousand|million|billion|trillion|lakh|crore)s?|k|squared|cubed|factorial|pi"
    r"|hal(?:f|ves)|thirds?|quarters?|tenths?|hundredths?|thousandths?)(?![A-Za-z])"
    r"|(?i:[\s~$\\]*\(?(?:\\text\w*\s*\{)?\(?(?:in )?(base) )"
)
"""A word of size after a box."""


def plain_lines(text: str) -> list[str]:
    """Return the lines of a final answer that are not empty, without markup and table rows."""
    text = text[-_LONGEST_TEXT:]
    if _LEAKED.search(text):
        text = _FROM_THOUGHT.sub("", _UP_TO_ANSWER.sub("", text))
    text = _TAGGED.sub(r"\nAnswer: \2\n", text.translate(_CHARACTERS))
    text = _DROPPED.sub("", text)
    last = text.rstrip().rfind("\n") + 1
    row = _BOLD_ROW.fullmatch(text, last)
    if row and not re.search(r"\|\s*\*\*[^|*\n]*\d", text[:last]):  # the only one
        text = f"{text[: row.start()]}Answer: {row[1]}"
    lines = _BOX.sub(_boxed, _ESCAPED.sub(r"\\", text)).split("\n")
    shown = (line[-_LONGEST_LINE:] for line in lines if not line.lstrip().startswith("|"))
    return [bare for line in shown if (bare := _bare(_LINE_MARKS.sub("", line)))]


def without_markup(tex: str) -> str:
    r"""Return TeX without markup that only changes its appearance.

    `\text{70}`, `$70$`, `{70}` and `**70**` all become 70, `1\,234` becomes `1234` and
    `1{,}234` becomes `1,234`.
    """
    if not _MARKUP.search(tex):
        return " ".join(tex.split())
    text = _COMMA.sub(",", tex) if "{,}" in tex else tex
    text = _SPACES.sub(" ", _NOTHING.sub("", _THIN_SPACE.sub("", text)))
    for _ in range(_DEEPEST if "{" in text else 0):
        bare = _BRACED.sub(r"\1", _WRAPPER.sub(r" \1 ", text))
        if bare == text:
            break
        text = bare
    return " ".join(text.split())


def _bare(text: str) -> str:
    """Return a text without emphasis and other markup."""
    if _MARKED.search(text):
        text = _EMPHASIS.sub("", _ENVIRONMENT.sub(" ", text))
    return without_markup(text)


def _boxed(box: re.Match[str]) -> str:
    r"""Return ⟦70⟧ for `\boxed{70}`.

    A sign and a word of size beside a number are moved into its box; if a factor, a power or
    another operation changes the number, a question mark is.
    """
    inside = _bare(" ".join((box["tex"] or box["digits"] or "").split()))
    if _CALCULATED.match(inside):
        line = box.string[box.string.rfind("\n", 0, box.start()) + 1 : box.start()]
        after = box.string[box.end() : box.end() + _BESIDE].partition("\n")[0]
        inside = _changed(line, inside, after)
    return f"{BOX_OPEN}{inside}{BOX_CLOSE}"


def _changed(before: str, number: str, after: str) -> str:
    """Return a number in a box with what the text beside the box makes of it."""
    pairs = (("\\(", "\\)"), ("\\[", "\\]"))
    opened = before.replace("\\$", "").replace("$$", "$").count("$") % 2 or any(
        before.rfind(start) > before.rfind(end) for start, end in pairs
    )
    before = before[-_BESIDE:]
    sign = _NEGATES.search(before) if opened or re.search(r"[-−]$", before) else None
    taken = not sign and (_TAKES_BOX if opened else _TAKES_BARE).search(before)
    changed = _CHANGES_BOX.match(after) or (opened and _CHANGES_IN_MATH.match(after))
    if taken or changed or _TAKES_WORD.search(before):
        return f"?{number}"
    size = _SIZE_AFTER.match(after)
    return f"{'-' if sign else ''}{number}{f' {size[1] or size[2]}' if size else ''}"
