"""Finds the places of a text that state an answer, and decides whether they agree.

An answer is stated in a box, after a label ("Answer:", also as a heading), in a sentence ("the
answer is"), or by a last line that contains nothing else. `AnswerReader` recognizes the answer at
such a place. The rules prefer a missed answer to a wrong credit:

1. A sentence that denies, supposes or asks something states nothing.
2. If the writer takes something back, everything before it is ignored.
3. All remaining places must agree; a box without an answer before them is an intermediate result.
4. Without such a place, the last sentence counts if it commits: what it denies is left out, and a
   condition, a question, a comparison or a doubt voids it.

The phrases are English, with the plain forms of Chinese, Japanese and Spanish.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Protocol

from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN, lines_with_emphasis, plain_lines
from evals.extraction.quantities import read_unit

_WORD = (
    r"(?:answers?|ans|response|respuesta|resultado|réponse|antwort|resposta|risposta|ответ"
    r"|答案|答え|回答|解答|正解|答|(?:best|educated) guess)"
)
_GOOD = (
    r"(?:final[ea]?|correct[aeo]?|right|best|proper|selected|chosen|required|requested|desired|asked"
    r"|sought|buscad[ao]|pedid[ao]|corretta|correta|bonne|richtige|korrekte|正确的?|最终的?|最終的な)"
)
_THING = (
    r"(?:option|choice|letter|result|sum|total|number|value|remainder|area|probability|opción"
    r"|número|suma|选项)"
)
_ANSWER = (
    rf"(?:(?:{_GOOD}\s*)*{_WORD}(?:\s*(?:option|choice|letter|key))?(?:\s+{_GOOD})?"
    rf"|{_GOOD}\s*{_THING}|{_THING}\s+{_GOOD})(?![A-Za-zÀ-ɏ])"
)
_LABEL_ONLY = r"(?:final|total|results?|solution|conclusion|choice|option|selection|correct)"

_LABEL = re.compile(
    r"(?i)(?:^|(?<=[.;!?。)⟧]\s)|(?<=[{,]\s\")|(?<=[{,]\"))[^\w⟦]*"
    r"(?:(?:\d+[.)]|the|my|our|so|hence|thus|therefore|final_?)\s*)*"
    rf"(?:{_ANSWER}(?:\s*#?\d{{1,2}})?|{_LABEL_ONLY})(?:\s*\([^()]{{0,40}}\))?"
    r"[\s\"'*_]*(?:[:=→⇒–—]|-(?!\w)|=>)+"
)
"""A label at the start of a line or sentence, or of a member of a JSON object."""
_BARE_LABEL = re.compile(rf"^\W*(?:the |my )?{_ANSWER}[\s*_.]+(?=[\W\d]*\d|\W*[A-D]\b)", re.I)
"""A label without a colon, which begins a line with nothing but an answer."""
_HEADING = re.compile(rf"\W*(?:\d+[.)]\s+)?(?:the|my)?\s*{_ANSWER}[\s:.*_]*", re.IGNORECASE)
_SENTENCE = re.compile(
    rf"(?i)(?<![A-Za-zÀ-ɏ-]){_ANSWER}(?:\s+(?:to|of)\b[^.:;?!,]{{0,60}}?)?[\s,]*"
    r"(?:(?:is|es|est|ist|lautet|[éè]|(?:would|must|should|has to|turns out to) be)(?![^\W_])"
    r"|应该?是|应为|[是为選选はが]|—|–|:)"
    r"(?:[\s,]+(?:therefore|thus|hence|then|clearly|indeed|simply|exactly|(?:most )?likely|also"
    r"|por (?:lo )?tanto|portanto|donc|daher|quindi)\b)*[\s,]*:?\s*(?:la\s+)?"
)
"""The beginning of a sentence such as "the answer is"."""
_LABELS = (_LABEL, _SENTENCE, _BARE_LABEL)
_NAMED = re.compile(
    r"(?i)(?:^|(?<=[.,;:!?]\s))\W*(?:(?:so|thus|hence|therefore|clearly),?\s)?([^.,;:!?⟦⟧]{1,30}?)"
    rf"\s+is\s+(?:(?:thus|therefore)\s)?(?:the|our|my)\s+{_ANSWER}"
    r"(?=\s*(?:[.,;!:)]|$)|\s(?:because|since|here)\b)"
)
"""A clause such as "B is the correct answer"."""
_NAMES_ANSWER = (
    *("ans", "response", "respuesta", "resultado", "答", "正解", "正确", "最终", "最終"),
    *("final", "correct", "right", "best", "proper", "selected", "chosen", "require", "requested"),
    *("desired", "asked", "sought", "buscad", "pedid", "répons", "antwort", "respost", "rispost"),
    *("ответ", "guess"),
)
_IS_LABEL = ("total", "result", "solution", "conclusion", "choice", "option", "selection")
"""Every heading and sentence that states an answer has one of the first words, and every label one
of the first or second ones. They are searched for first, because the patterns take far longer."""
_UNDECIDED = re.compile(
    r"(?i)\W*(?:un(?:clear|known|decided|determined)|cannot|none|neither|n/?a|null)\b"
)
"""What follows a label if there is no answer."""
_REMARK = re.compile(r"(?i)\W*(?:note|remark|check|verification|confidence|i hope|let me know)\b")

_END = re.compile(r"(?<!e\.g)(?<!i\.e)[.!?;][\"'”’)]*(?=\s|$)|[。！？]")
"""The end of a sentence."""
_HENCE = re.compile(r"\b(?:so|hence|thus|therefore|consequently|giving)\b", re.IGNORECASE)
_CONTRAST = re.compile(r"(?i),?\s+(?:but|however,?)\s+|\s[–—]\s")
"""What stands between a denied or doubtful clause and the one that states the answer."""
_REASON = re.compile(
    r"\b(?:because|since|due to|porque|parce que|weil|denn|так как|provided(?: that)?"
    r"|as long as)\b|, as\b"
)
_EXPLAINS = re.compile(r"(?<=[\w)⟧]) ?:\s+(?=\w)(?!(?i:not?|wait|none|neither|if|unless|or)\b)")
"""The beginning of an explanation after an answer, such as "the answer is C: it has no plane"."""
_CONCEDES = re.compile(
    r"(?i),?\s(?:though|although|but)\s+(?:"
    r"i(?:['’]?m| am| did| do| have| can| could)(?: ?not|n['’]t) (?:\w+ ){0,2}"
    r"(?:sure|certain|confident|prove[dn]?|verif(?:y|ied)|check(?:ed)?)\b"
    r"|(?:option )?\(?[A-D]\)? (?:is|comes|looks) "
    r"(?:tempting|(?:a |the )?(?:close second|runner-up)))[^.;!?]*"
)
"""What a writer concedes who is not certain of the one answer, or names the next best one."""
_NOTES = re.compile(
    r"(?i)\s\((?:note|recall|remember|for comparison)\b"
    r"(?![^()]*\b(?:wrong|incorrect|mistake|not (?:sure|certain|right|correct))\b)[^()]*\)"
)
"""A note in parentheses that does not void the answer."""
_NEXT = re.compile(
    r"(?i)[,;]\s+(?:(?:whereas|while|and|but)\s+)?"
    r"(?=[^,;.]*\bthe next (?:one|such|smallest|largest|is)\b)[^,;.]*(?=[.\s]*$)"
)
"""A clause about the value after the answer, such as "the next one is 324"."""
_IN_OTHER_WORDS = re.compile(r"(?i)^\W*(?:i\.e\.|that is,|namely|in other words),?\s*")
_NOUN_PHRASE = re.compile(r"(?i)(?:the|an?)\s\D{1,60}")
_UNFINISHED = re.compile(
    r":\s*$|\b(?:is|are|was|were|has|have|would|must|the|an?|of|to|in|for|with|by|and|or|that|than"
    r"|because|since|if|so|thus|hence|therefore)\s*$"
)
"""The end of a text that is cut before what it announces."""
_PARTICULAR = re.compile(
    r"(?i)\b(?:for|with) [a-z]\s?=\s?\d|\b(?:method|approach|way) (?:\d|[IV]+)\b"
)
"""A sentence on a single case or on one of several methods."""
_DONE = " ✓✔✅☑"
"""Marks at the end of a text."""
_NOT_OTHERS = re.compile(
    r",?\s\(?(?:not|nicht|pas|et non|rather than|instead of)\s+(?:option\s+)?\(?(?:\d+|[A-D])\b"
    r"(?:(?! but )[^.;()])*\)?(?=\W*$)"
)
"""Another answer that is denied, as in "8 (not 7)"."""
_NOT_BUT = re.compile(
    r"(?i)\b(?:not|nicht|non|pas|no|não|не)\s+[^\s,.;]{1,20},?\s+"
    r"(?:but(?:\s+rather)?|sondern|ma|mais|sino|mas|а)\s+(?=(?:option\s+)?[^\s,.;]{1,20}[\s.!]*$)"
)
"""An answer that is denied before the right one at the end of a sentence: "not C but D"."""
_SUPPOSES = re.compile(r"(?i)\b(?:if|suppos\w+|assum\w+|unless|were|had|si)\b|如果|若|もし")
_DENIES = re.compile(
    r"(?i)\b(?:not?|cannot|never|neither|nor|none|without|incorrect|wrong|false|invalid|fails?|failed"
    r"|impossible|mistak\w+|except|too|aside|ruled|excluded?|eliminat\w+|ni|nicht|keine?[mnrs]?|falsch\w*"
    r"|pas|faux|fausse|não|errad[ao]|falso|non(?!-)|sbagliat[ao]|не|нет|неверн\w*)\b|n['’]t\b"
    r"|[不没未非错誤]|ない|ません|なく|않|아니"
)
_HEDGES = re.compile(
    r"(?i)\?|^\W*(?:now|next|then|first)\b|\b(?:so far|only (?:if|when|for|in)|doubt\w*|unlikely"
    r"|(?:remains?|needs?|still has) to|(?<!un)less|more|at least|most(?! likely)|about"
    r"|least (?:likely|plausible|probable)|approximately|around|roughly|between|almost|nearly|under"
    r"|over|below|above|whether|might|could|may|maybe"
    r"|perhaps|possibly|possible(?! answer)|either|otherwise|tempting|at first|initial\w*"
    r"|(?<!best )(?<!educated )guess"
    r"|would (?!be\b|say|choose|pick|go with|answer)|originally|naive\w*|thought|sa(?:id|ys)|thinks"
    r"|believes|(?<!\bi )(?<!\bwe )(?<!['’]d )(?<!would )(?:say|think|believe|claims?)|case"
    r"|\d cases|(?:an?|one|another|some)\s+(?:\w+\s+)?(?:answers?|solutions?)\s+(?:is|are|would)"
    r"|example|alternatively|often|common|potential|known|simplified|similar|partial\w*|intermediate"
    r"|missing|general|first|second|(?:must|should) (?:end|be of)|so does|lies|or|although|though"
    r"|part|step|candidate|quizás|tal vez"
    r")\b|可能|或|[≤≥<>≠≈]"
)
"""Words of a sentence that asks something, or states something else than the answer."""
_LETTERS = re.compile(r"\b([A-D]), (?=(?:and )?(?!I\b)[A-D]\b)")
_OF_OTHERS = re.compile(r"\b(?:others?|rest)\b|(?<!\w)(?!I\b)[A-D](?!\w)")
_CLAUSE = re.compile(
    r"[;:]\s+|,\s+(?![^()\[\]{}]*[)\]}])|\s[—–-]\s|\s*[→⇒]\s*|\s+but\s+"
    r"|\s+and\s+(?=(?:hence|thus|therefore|so|consequently)\b)"
)
_TAKES_BACK = re.compile(
    r"(?i)\b(?:wait|hold on|scratch that|oops|hmm+|correction|edit|update)\b(?=\s*[,.:!?…—–-]|$)"
    r"|\bon (?:second thought|(?:further |closer )?reflection|closer inspection)\b"
    r"|\bi (?:made|have made|see|found) (?:a|an|my|the) [\w ]{0,20}?(?:mistake|error|slip)"
    r"|\bi (?:misread|miscounted|confused|swapped|forgot|overlooked"
    r"|(?:have to|must|need to) change)"
    r"|\b(?:disregard|ignore) (?:that|this|the above|my)"
    r"|\blet me (?:re\w+|start over|start again|try again|think again|(?:double-?\s?)?check|verify)"
    r"|\b(?:need|have) to (?:redo|start over|recount|restart)"
    r"|\b(?:could not|couldn['’]t|cannot|can['’]t|unable to|failed to) (?:\w+ )?(?:repair|fix"
    r"|resolve|reconcile|finish|complete|solve|determine|settle|decide|give)"
    r"|\b(?:now|next|then),? (?:we|i) (?:still )?(?:need|must|have to)\b|\bit remains to\b"
    r"|\bsomething (?:is|went|must have gone) (?:off|wrong)|\b(?:actually|however|alternatively"
    r"|corrected|also (?:correct|right|acceptable|possible|valid))\b"
    r"|\bno, |(?:^|[.!?…]\s+)(?:no|nein|non|não|нет)\b(?=[,.!—–])"
    r"|\b(?:attende[zs]|aspetta|moment mal)\b"
    r"|(?:that|this|it)(?:['’]s| is| was| seems)(?: \w+)? (?:wrong|false|incorrect|impossible"
    r"|a mistake"
    r"|not )|\b(?:that|this|it) (?:contradicts|exceeds|misses|ignores|fails|overcounts|double)"
    r"|(?:^|[.!?]\s+)\W*(?:or|but|pero)\b|不对|不對|等等|いや|いいえ"
)
"""The writer takes back the preceding text, or does not finish it."""
_CONFIRMS = re.compile(
    r"(?i)[✓✔✅]|\b(?:holds?|match(?:es)?|agrees?|consistent|confirm(?:s|ed)|verified|as expected"
    r"|indeed|checks out|works|ok(?:ay)?|yes|good)\b"
)
"""A check that succeeds."""
_ALSO = re.compile(
    r"(?i)\b(?:same (?:value|result|answer|number|count|total)"
    r"|also (?:follows|(?:be )?(?:seen|obtained|derived|checked|verified|found|proved)))\b"
)
"""A second way to the answer."""
_HOLDS = r"(?:holds|matches|agrees|works|checks out|is consistent|is right|fits)"
_AGREES = re.compile(
    rf"(?i)\W*(?:(?:yes|ok|okay|indeed|that|this|it|everything|all)\W+)*{_HOLDS}"
    r"(?: indeed| too| as expected| as well)?\W*"
)
"""A remark that says nothing but that the answer holds."""
_WITHDRAWS = re.compile(
    r"(?i)\b(?:but|should|must|need|needs|have to|asks?|asked|wants?|twice|instead"
    r"|correct(?:ed|ion)|mistake|error|slip|redo|recount|recompute|recalculate|start|again"
    r"|contradicts?|exceeds?|misses|ignores"
    r"|overcounts?|forgot|change|final(?:ly)?|half|halv\w+|doubl(?:e[ds]?|ing)|tripl\w+|divid\w+"
    r"|multipl\w+|subtract\w*|add(?:s|ed|ing)?|includ\w+|minus|plus|times|remov\w+|count(?:s|ed)?"
    r"|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ty(?:-\w+)?|hundred|thousand|million"
    r"|squared?|root|negative|opposite|complement\w*|inverse|reciprocal|an?other|different"
    r"|options?|choices?|first|second|third|last|former|latter)\b|[✗✘❌≠]"
)
"""What a remark has that changes the answer, or may do so."""
_CHECKS = re.compile(
    r"(?i)(?:\W*(?:let me (?:(?:double|re)-?\s?)?(?:check|verify)|wait|hold on|hmm+|however"
    r"|actually|alternatively|but)\b)+"
)
"""The beginning of a remark that need not take anything back."""
_LINES, _LONGEST_REMARK = 12, 1_000  # lines and characters
_ONE_COULD = re.compile(r"(?i)\b(?:one|we|you|i|this|it) (?:could|can|may|might)\b")
_EQUALS = re.compile(r"=\s*(-?\d[\d,]*)(?![\d.,]*\d|\s*[-+*/·×^=(a-z\\])")
"""The value of an equation that is at its end."""


FOUR = "D"
"""The last of the letters in the patterns of this package."""


@cache
def up_to(last: str, pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Return a pattern with the letters from A to `last`; alone, `I` is also a pronoun."""
    if last == FOUR or "[A-D]" not in pattern.pattern:
        return pattern
    source = pattern.pattern.replace("[A-D]", f"[A-{last}]").replace("(?!A (", "(?![AI] (")
    return re.compile(source, pattern.flags)


class AnswerReader(Protocol):
    """The recognition of the answers of one eval. Every method returns None without an answer."""

    @property
    def last(self) -> str:
        """The letter of the last choice."""
        ...

    @property
    def knows_units(self) -> bool:
        """Whether the unit of an answer counts."""
        ...

    @property
    def asks_for_letter(self) -> bool:
        """Whether a letter that is concluded after a box stands above the value in the box."""
        ...

    def boxed(self, content: str) -> str | None:
        """Return the answer in a box."""
        ...

    def stated(self, text: str) -> str | None:
        """Return the answer at the beginning of a text that follows a label."""
        ...

    def whole(self, line: str) -> str | None:
        """Return the answer of a line that contains nothing else."""
        ...

    def concluded(self, sentence: str, claims: Sequence[str]) -> str | None:
        """Return what a last sentence chooses; `claims` are its clauses that deny nothing."""
        ...

    def without_choices(self, sentence: str) -> str:
        """Return a sentence without the texts of choices."""
        ...

    def names_other(self, remark: str, answer: str) -> bool:
        """Return whether a remark names another answer than this one."""
        ...


@dataclass(frozen=True)
class _Statement:
    line: int
    at: int
    answer: str | None
    box: bool = False


_BOXED = re.compile(rf"{BOX_OPEN}([^{BOX_OPEN}{BOX_CLOSE}]*){BOX_CLOSE}")
_AT_END = re.compile(
    r"(?:\s(?!(?:must|should|can|could|are|is|was|were|will|would|have|has|had|does?|needs?)\b)"
    r"[^\W\d_]+){0,4}(?:\s*(?:[.,;:!?)✓✔✅☑]|$)|\s+[(–—-])|\s+is (?:the|my|our)\b"
)
"""What follows an emphasised answer: the end of its clause, after at most four words
that are no verb."""
_WORD_BESIDE = re.compile(r"\s?((?:\\%|[^\s.,;:!?()⟦])(?:[^\s.,;:!?()⟦]|\.(?=\d))*)")
_NOT_THESE = re.compile(
    r"(?i)(?<=⟧),?\s(?:and\s)?(?:not|rather than|instead of)\s+[^,.;]{1,40}(?=[.;!]|$)"
)
"""What is denied after an emphasised answer, as in "**Ottawa**, not Toronto"."""
_AND = re.compile(r"(?i)\W*\b(?:and|or|und|oder|et|ou|y|o|e)\b(?:\s+\w+){0,2}\W*")
"""What stands between the members of a list."""
_ORDERS = re.compile(
    r"(?i)\W*(?:use|using|take|let|set|try|put|consider|run|enter|is|are|does|do|did|can|was|how|what"
    r"|which|who|where|why|when)\b"
)
"""The beginning of a request, a definition or a question."""
_AFTER_MEMBER = re.compile(r"\d\s?[,;]\s?$")
_BEFORE_MEMBER = re.compile(r",\s?(?:\d|…|\.\.)")
"""The neighbours of a member of a list of numbers."""
_CONTRASTS = re.compile(r"(?i)[^.;!?]*,\s(?:but|yet|however)\b")
"""A sentence that goes on with what is true instead."""
_FRONTED = re.compile(
    r"(?i)\W*(?:besides|apart|aside|except|in addition|of|among|after|from|with|for|since|because"
    r"|when|once|while|although)\b[^,;:]*$"
)
"""The beginning of a clause that stands before the main one."""
_BESIDE = re.compile(r"\s[(–—-]|[,;:.](?=\s|$)")
_BRACKETS = str.maketrans("", "", BOX_OPEN + BOX_CLOSE)
_RESULT = re.compile(r"[-+*/·×].*=")
"""An equation that computes its right side."""


def stated_answer(text: str, reader: AnswerReader) -> str | None:
    """Return the answer that a final answer states, None without one or with more than one."""
    lines = [_NOT_BUT.sub("", line) for line in plain_lines(text)]
    statements = [*_statements(lines, reader), *_short_lines(lines, reader)]
    concluded = _after_boxes(lines, statements, reader)
    if concluded:
        return concluded if reader.asks_for_letter else None
    if not statements:
        concluded = _conclusion(lines[_last(lines)], reader) if lines else None
        return concluded or emphasised_answer(text, reader)
    kept = _not_taken_back(
        sorted(statements, key=lambda statement: (statement.line, statement.at)), lines, reader
    )
    answers = {
        statement.answer
        for place, statement in enumerate(kept)
        if statement.answer or not statement.box or place == len(kept) - 1
    }
    return answers.pop() if len(answers) == 1 else None


def _after_boxes(
    lines: Sequence[str], statements: Sequence[_Statement], reader: AnswerReader
) -> str | None:
    """Return another answer that the last line concludes after its box; None without one."""
    if not statements or not all(stated.box for stated in statements):
        return None
    tail = lines[-1].rpartition(BOX_CLOSE)[2]
    if len(tail) == len(lines[-1]) or not _HENCE.search(tail):
        return None
    concluded = _conclusion(tail.strip(), reader)
    if concluded is None and reader.asks_for_letter:
        concluded = reader.whole(_HENCE.split(tail)[-1].strip(" .,"))
    return concluded if concluded not in {None, statements[-1].answer} else None


def _not_taken_back(
    stated: Sequence[_Statement], lines: Sequence[str], reader: AnswerReader
) -> Sequence[_Statement]:
    """Return the statements after the last place where the writer takes back an earlier one.

    A remark that only confirms the answer ("Let me check: 6·7 = 42. ✓") takes nothing back.
    """
    first = (stated[0].line, stated[0].at)
    for number in range(len(lines) - 1, first[0] - 1, -1):
        gone = [(number, match.start()) for match in _TAKES_BACK.finditer(lines[number])]
        for place in reversed([place for place in gone if place > first]):
            before = {each.answer or "" for each in stated if (each.line, each.at) < place} - {""}
            remark = "\n".join([lines[number][place[1] :], *lines[number + 1 :][:_LINES]])
            if (
                number + _LINES < len(lines)
                or len(remark) > _LONGEST_REMARK
                or len(before) != 1
                or not _confirms(remark, before.pop(), reader)
            ):
                return [each for each in stated if (each.line, each.at) > place]
    return stated


def _confirms(remark: str, answer: str, reader: AnswerReader) -> bool:
    """Return whether the rest of a text confirms its answer, and neither doubts nor changes it."""
    checks = _CHECKS.match(remark)
    if not checks or reader.names_other(remark, answer):
        return False
    said = _ONE_COULD.sub(" ", reader.without_choices(remark[checks.end() :]))
    if doubted(said) or _WITHDRAWS.search(said):
        return False
    if answer in _equations(remark) or _ALSO.search(said):
        return True
    if "check" in checks[0].casefold() or "verify" in checks[0].casefold():
        return bool(_CONFIRMS.search(said))
    works = re.search(rf"(?i)\b{re.escape(answer)} (?:indeed )?{_HOLDS}", said)
    return bool(works or _AGREES.fullmatch(said))


def _equations(text: str) -> set[str]:
    """Return the integers at the ends of equations."""
    return {value.replace(",", "") for value in _EQUALS.findall(text)}


def _statements(lines: Sequence[str], reader: AnswerReader) -> Iterator[_Statement]:
    for number, line in enumerate(lines):
        for box in _asserted_boxes(line, reader):
            answer = reader.boxed(_content(line, box, reader))
            yield _Statement(number, box.start(), answer, box=True)
        folded = line.casefold()
        named = any(word in folded for word in _NAMES_ANSWER)
        if not named and not any(word in folded for word in _IS_LABEL):
            continue
        if not named or not _HEADING.fullmatch(line) or number + 1 == len(lines):
            for at, answer in _labelled(line, reader, _LABELS if named else _LABELS[:1]):
                yield _Statement(number, at, answer)
            continue
        below = lines[number + 1]
        answer = reader.whole(below.translate(_BRACKETS)) or reader.stated(below)
        if answer and _asserts(below, 0, 0, reader):
            yield _Statement(number + 1, 0, answer)


def _asserted_boxes(line: str, reader: AnswerReader) -> Iterator[re.Match[str]]:
    """Yield the boxes of a line that it asserts.

    Equal boxes are one: "or", "if" and the like between them state no other answer.
    """
    boxes = [*_BOXED.finditer(line)]
    first, last = boxes[:1], boxes[-1:]
    for one, again in zip(first, last, strict=True):
        between = one.end(), again.start()
        denied_between = _DENIES.search(line, *between) or _TAKES_BACK.search(line, *between)
        cut = line[: one.end()] + line[again.end() :]
        if len({box[1] for box in boxes}) == 1 and not denied_between:
            boxes = []
            if _asserts(cut, one.start(), one.end(), reader):
                yield again
    for box in boxes:
        if _asserts(line, box.start(), box.end(), reader):
            yield box


def _content(line: str, box: re.Match[str], reader: AnswerReader) -> str:
    """Return what is in a box, with a unit that stands beside it if the reader knows units."""
    beside = _WORD_BESIDE.match(line, box.end())
    if reader.knows_units and beside and read_unit(beside[1]):
        return f"{box[1]} {beside[1]}"
    return box[1]


def _labelled(
    line: str, reader: AnswerReader, labels: Sequence[re.Pattern[str]]
) -> Iterator[tuple[int, str | None]]:
    """Yield the place of each label of a line, and the answer after it; None if it is undecided."""
    for label in labels:
        read = reader.whole if label is _BARE_LABEL else reader.stated
        for match in up_to(reader.last, label).finditer(line):
            said = up_to(reader.last, _NOT_OTHERS).sub("", line[match.end() :].translate(_BRACKETS))
            answer = read(said)
            if _UNDECIDED.match(said):
                yield match.start(), None
            elif answer and _asserts(line, match.start(), match.end(), reader):
                yield match.start(), answer
    for clause in _NAMED.finditer(line):
        answer = reader.whole(clause[1])
        if answer and _asserts(line, clause.start(1), clause.end(), reader):
            yield clause.start(1), answer


def _short_lines(lines: Sequence[str], reader: AnswerReader) -> Iterator[_Statement]:
    """Yield the answer of the first and of the last line, if the line contains nothing else.

    Two such lines in succession with different answers are a list, which has no answer.
    """
    if len(lines) == 1 and (answer := _before_remark(lines[0], reader)):
        yield _Statement(0, 0, answer)
    for at in {0, _last(lines)} if lines else ():
        neighbour = lines[at - 1 if at else min(1, len(lines) - 1)]
        answer = reader.whole(lines[at])
        alone = len(lines) == 1 and re.match(r"[A-Za-z]\w?\s*=", lines[at])
        if answer and (at or alone or "=" not in lines[at]) and not _doubted(lines[at], reader):
            listed = reader.whole(neighbour) not in {None, answer}
            listed = listed and not (_RESULT.search(lines[at]) and not _RESULT.search(neighbour))
            yield _Statement(at, 0, None if listed else answer)


def _before_remark(line: str, reader: AnswerReader) -> str | None:
    """Return the answer that a text of one line begins with, before a dash and a remark on it."""
    head, dash, remark = line.partition(" – ") if " – " in line else line.partition(" — ")
    answer = reader.whole(head) if dash else None
    if answer is None or _doubted(head, reader) or reader.names_other(remark, answer):
        return None
    kept = not _DENIES.search(_BESIDE.split(remark)[0]) and not _TAKES_BACK.search(remark)
    return answer if kept and not _HEDGES.match(remark) else None


def _conclusion(line: str, reader: AnswerReader) -> str | None:
    """Return the answer of the last sentence of a text without any statement.

    A remark after it is left out if it takes nothing back and concludes nothing itself.
    """
    for stop in reversed([*_END.finditer(line, 0, len(line) - 1)]):
        remark = line[stop.end() :]
        if not _REMARK.match(remark) or doubted(remark) or _TAKES_BACK.search(remark):
            break
        if _conclusion(remark, reader):
            break
        line = line[: stop.end()]
    if _UNFINISHED.search(line) or _PARTICULAR.search(line):
        return None
    line = _NEXT.sub("", line.rstrip(_DONE))
    start = max((stop.end() for stop in _END.finditer(line, 0, len(line) - 1)), default=0)
    alone = up_to(reader.last, _NOT_OTHERS).sub("", line[start:])
    sentence = _REASON.split(alone)[0].strip(" –—-,;:.")
    bare = reader.without_choices(sentence)
    labels = [
        match.end() for pattern in (_LABEL, _SENTENCE) for match in pattern.finditer(sentence)
    ]
    unread = any(not _DENIES.search(sentence[end:]) for end in labels)
    if unread or _TAKES_BACK.search(sentence) or _SUPPOSES.search(line) or _HEDGES.search(bare):
        return None
    clauses = _CLAUSE.split(up_to(reader.last, _LETTERS).sub(r"\1 and ", sentence))
    claims = [clause for clause in clauses if not _DENIES.search(reader.without_choices(clause))]
    others = up_to(reader.last, _OF_OTHERS)
    denied = claims[-1:] != clauses[-1:] and not others.search(clauses[-1])
    if denied or not claims:
        return None
    again = _IN_OTHER_WORDS.sub("", claims[-1])
    answer = reader.whole(again) if again != claims[-1] else None
    answer = answer or reader.concluded(sentence, [*claims[:-1], again])
    if answer or again == claims[-1] or len(claims) == 1 or not _NOUN_PHRASE.fullmatch(again):
        return answer
    return reader.concluded(sentence, claims[:-1])  # "namely" and what the answer is


def emphasised_answer(text: str, reader: AnswerReader) -> str | None:
    """Return the only answer that the last line of a text emphasises, at the end of a clause."""
    lines = lines_with_emphasis(text)
    if not lines:
        return None
    line = lines[_last(lines)]
    line = _NOT_THESE.sub("", _NEXT.sub("", _NOT_BUT.sub("", line)))
    boxes = [*_BOXED.finditer(line)]
    if any(_are_list(line, *pair, reader) for pair in pairwise(boxes)):
        return None
    answers = set()
    for box in boxes:
        answer, after = reader.whole(_content(line, box, reader)), line[box.end() :]
        if not answer or not _AT_END.match(after) or not _asserts(line, *box.span(), reader):
            continue
        before = max((stop.end() for stop in _END.finditer(line, 0, box.start())), default=0)
        listed = _AFTER_MEMBER.search(line, 0, box.start()) or _BEFORE_MEMBER.match(after)
        if listed or _ORDERS.match(line, before, box.start()) or _CONTRASTS.match(after):
            continue
        beside = [_BESIDE.split(after)[0], *_HENCE.split(after)[1:], *_END.split(after)[1:]]
        if any(reader.names_other(said, answer) for said in beside):
            continue
        if re.match(r"[^.;:!?()–—]*,\s", after):
            if _FRONTED.match(line, before, box.start()):
                continue
            if reader.names_other(_END.split(after)[0], answer):
                return None  # a list of answers
        answers.add(answer)
    return answers.pop() if len(answers) == 1 and not _TAKES_BACK.search(line) else None


def _are_list(line: str, one: re.Match[str], other: re.Match[str], reader: AnswerReader) -> bool:
    """Return whether two emphasised answers are members of a list."""
    answers = reader.whole(one[1]), reader.whole(other[1])
    joined = _AND.fullmatch(line, one.end(), other.start())
    return bool(joined) and None not in answers and answers[0] != answers[1]


def _last(lines: Sequence[str]) -> int:
    """Return the number of the last line that is not a remark."""
    return max((at for at, line in enumerate(lines) if not _REMARK.match(line)), default=0)


def _asserts(line: str, start: int, end: int, reader: AnswerReader) -> bool:
    """Return whether the sentence around a statement asserts it."""
    begin = max((stop.end() for stop in _END.finditer(line, 0, start)), default=0)
    stop = _END.search(line, end)
    before = "" if line[:start].endswith('"') else line[begin:start]  # a member of a JSON object
    if not _SUPPOSES.search(before):
        before = _CONTRAST.split(_HENCE.split(before)[-1])[-1]
    after = _REASON.split(line[end : stop.end() if stop else len(line)])[0]
    after = _EXPLAINS.split(after)[0]
    return not _doubted(before + line[start:end] + after, reader)


def _doubted(sentence: str, reader: AnswerReader) -> bool:
    sentence = up_to(reader.last, _CONCEDES).sub("", _NOTES.sub("", sentence))
    return doubted(up_to(reader.last, _NOT_OTHERS).sub("", reader.without_choices(sentence)))


def denied(said: str) -> bool:
    """Return whether a text denies or supposes something."""
    return any(pattern.search(said) for pattern in (_DENIES, _SUPPOSES))


def takes_back(said: str) -> bool:
    """Return whether a text takes back what stands before it."""
    return _TAKES_BACK.search(said) is not None


def doubted(said: str) -> bool:
    """Return whether a text denies, supposes or asks something."""
    return any(pattern.search(said) for pattern in (_DENIES, _HEDGES, _SUPPOSES))
