"""Finds the places of a text that state an answer, and decides whether they agree.

An answer is stated in a box, after a label ("Answer:", also as a heading), in a sentence ("the
answer is"), or by a last line that contains nothing else. `AnswerReader` recognizes the answer at
such a place. The rules prefer a missed answer to a wrong credit:

1. A sentence that denies, supposes or asks something states nothing.
2. If the writer takes something back, everything before it is ignored.
3. All remaining places must agree; a last line counts only if nothing else does.

The phrases are mostly English. A pattern has words of German, French, Spanish, Portuguese, Italian,
Russian, Chinese, Japanese and Korean where these fit into it unchanged.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from evals.extraction.plain_text import BOX_CLOSE, BOX_OPEN, plain_lines

_WORD = (
    r"(?:answers?|ans|response|Antwort|Endergebnis|Ergebnis|Lösung|réponse|résultat|respuesta"
    r"|resultado|resposta|risposta|risultato|ответ|результат|答案|答え|回答|解答|正解|答|정답|답)"
)
_GOOD = (
    r"(?:final|correct|right|best|proper|selected|chosen|required|requested|desired|asked|sought"
    r"|endgültige|richtige|korrekte|gesuchte|finale?|bonne|cherchée?|correct[aeo]|corret[ao]"
    r"|buscad[ao]|pedid[ao]|procurad[ao]|corretta|giusta|cercat[ao]|правильный|окончательный"
    r"|искомое|正确的?|最终的?|最終的な|최종)"
)
_THING = (
    r"(?:option|choice|letter|result|sum|total|number|value|remainder|area|probability|Zahl|Summe"
    r"|nombre|somme|opción|número|suma|opção|soma|opzione|numero|somma|вариант|число|选项)"
)
_ANSWER = (
    rf"(?:(?:{_GOOD}\s*)*{_WORD}(?:\s*(?:option|choice|letter|key))?(?:\s+{_GOOD})?"
    rf"|{_GOOD}\s+{_THING}|{_THING}\s+{_GOOD})(?![A-Za-zÀ-ɏа-я])"
)
_LABEL_ONLY = r"(?:final|total|results?|solution|conclusion|choice|option|selection|correct)"

_LABEL = re.compile(
    r"(?:^|(?<=[.;!?。)⟧]\s)|(?<=[{,]\s\")|(?<=[{,]\"))[^\w⟦]*"
    r"(?:(?:\d+[.)]|the|my|our|so|hence|thus|therefore|final_?)\s*)*"
    rf"(?:{_ANSWER}|{_LABEL_ONLY})(?:\s*\([^()]{{0,40}}\))?"
    r"[\s\"'*_]*(?:[:=→⇒–—]|-(?!\w)|=>)+",
    re.IGNORECASE,
)
"""A label at the start of a line or sentence, or of a member of a JSON object."""
_HEADING = re.compile(rf"\W*(?:\d+[.)]\s+)?(?:the|my)?\s*{_ANSWER}[\s:.*_]*", re.IGNORECASE)
_SENTENCE = re.compile(
    rf"(?<![A-Za-zÀ-ɏа-я-]){_ANSWER}(?:\s+(?:to|of)\b[^.:;?!,]{{0,60}}?)?[\s,]*"
    r"(?:(?:is|ist|lautet|beträgt|est|es|é|è|это|равен|равно|would be|must be)(?![^\W_])"
    r"|应该?是|应为|[是为選选はが은는]|—|–|:)"
    r"(?:[\s,]+(?:therefore|thus|hence|then|clearly|indeed|simply|probably|(?:most )?likely|also"
    r"|somit|daher|donc|por (?:lo )?tanto|portanto|quindi|dunque)\b)*[\s,]*:?\s*(?:l[ae]\s+)?",
    re.IGNORECASE,
)
"""The beginning of a sentence such as "the answer is"."""
_UNDECIDED = re.compile(
    r"\W*(?:un(?:clear|known|decided|defined|determined)|cannot|none|neither|n/?a)\b", re.IGNORECASE
)
"""What follows a label if there is no answer."""
_REMARK = re.compile(
    r"\W*(?:note|remark|check|verification|confidence|i hope|let me know)\b", re.IGNORECASE
)

_END = re.compile(r"(?<!e\.g)(?<!i\.e)[.!?;][\"'”’)]*(?=\s|$)|[。！？]")
"""The end of a sentence."""
_HENCE = re.compile(r"\b(?:so|hence|thus|therefore|consequently|giving)\b", re.IGNORECASE)
_REASON = re.compile(r"\b(?:because|since|as|due to|weil|denn|car|puisque|porque|pois|perché)\b")
_NOT_OTHERS = re.compile(
    r",?\s\(?(?:not|rather than|instead of)\s+(?:option\s+)?\(?(?:\d+|[A-D])\b[^.;()]*\)?(?=\W*$)"
)
"""Another answer that is denied, as in "8 (not 7)"."""
_SUPPOSES = re.compile(
    r"\b(?:if|suppos\w+|assum\w+|unless|were|had|wenn|falls|si|se|если)\b|如果|若|もし|만약",
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"\?|\b(?:not|cannot|never|neither|nor|none|no|without|so far|only (?:if|when|for|in)"
    r"|doubt\w*|unlikely|incorrect|wrong|false"
    r"|invalid|fails?|failed|impossible|mistak\w+|except|too|(?<!un)less|more|least"
    r"|most(?! likely)|about|approximately|around|roughly|between|almost|nearly|under|over"
    r"|whether|might|could|may|maybe|perhaps|possibly|possible|either|otherwise|would have"
    r"|tempting|at first|initial\w*|originally|naive\w*|guess|thought|say|said|case|example"
    r"|alternatively|think\w*|believe\w*|often|common|potential|known|simplified|similar"
    r"|partial\w*|intermediate|missing|general|first|second|should|must end|or|but|although"
    r"|though|part|step|candidate|nicht|kein\w*|falsch|vielleicht|oder|pas|non|ni|faux|fausse"
    r"|peut-être|ou|quizás|tal vez|talvez|não|nem|forse|не|ни|неверн\w*|возможно|или)\b|n['’]t\b"
    r"|不|没|未|非|错|可能|或|ない|ません|なく|誤|아니|않|틀|[≤≥<>≠≈]",
    re.IGNORECASE,
)
"""Words of a sentence that denies or asks something, or states something else than the answer."""
_TAKES_BACK = re.compile(
    r"\b(?:wait|hold on|scratch that|oops|hmm+|correction|edit|update)\b(?=\s*[,.:!?…—–-]|$)"
    r"|\bon (?:second thought|(?:further |closer )?reflection|closer inspection)\b"
    r"|\bi (?:made|have made|see|found) (?:a|an|my|the) [\w ]{0,20}?(?:mistake|error|slip)"
    r"|\bi (?:misread|miscounted|confused|swapped|forgot|overlooked"
    r"|(?:have to|must|need to) change)"
    r"|\b(?:disregard|ignore) (?:that|this|the above|my)"
    r"|\blet me (?:re\w+|start over|start again|try again|think again|check)"
    r"|\b(?:need|have) to (?:redo|start over|recount|restart)"
    r"|\b(?:could not|couldn['’]t|cannot|can['’]t|unable to|failed to) (?:\w+ )?(?:repair|fix"
    r"|resolve|reconcile|finish|complete|solve|determine|settle|decide|give)"
    r"|\b(?:now|next|then),? (?:we|i) (?:still )?(?:need|must|have to)\b|\bit remains to\b"
    r"|\bsomething (?:is|went|must have gone) (?:off|wrong)|\b(?:actually|however|alternatively"
    r"|corrected|also (?:correct|right|acceptable|possible|valid))\b"
    r"|\bno, |(?:^|[.!?…]\s+)(?:no|nein|non|não|нет)\b(?=[,.!—–])"
    r"|(?:that|this|it)(?:['’]s| is| was| seems)(?: \w+)? (?:wrong|incorrect|impossible|a mistake"
    r"|not )|\b(?:that|this|it) (?:contradicts|exceeds|misses|ignores|fails|overcounts|double)"
    r"|(?:^|[.!?]\s+)\W*(?:or|but|aber|mais|pero|mas|ma|но)\b"
    r"|不对|不對|等等|いや|いいえ|아뇨",
    re.IGNORECASE,
)
"""The writer takes back the preceding text, or does not finish it."""


class AnswerReader(Protocol):
    """The recognition of the answers of one eval. Every method returns None without an answer."""

    def boxed(self, content: str) -> str | None:
        """Return the answer in a box."""
        ...

    def stated(self, text: str) -> str | None:
        """Return the answer at the beginning of a text that follows a label."""
        ...

    def whole(self, line: str) -> str | None:
        """Return the answer of a line that contains nothing else."""
        ...

    def concluded(self, sentence: str) -> str | None:
        """Return the answer of a last sentence that chooses it in other words."""
        ...

    def without_choices(self, sentence: str) -> str:
        """Return a sentence without the texts of choices."""
        ...


@dataclass(frozen=True)
class _Statement:
    line: int
    at: int
    answer: str | None


_BOXED = re.compile(rf"{BOX_OPEN}([^{BOX_OPEN}{BOX_CLOSE}]*){BOX_CLOSE}")
_BRACKETS = str.maketrans("", "", BOX_OPEN + BOX_CLOSE)
_RESULT = re.compile(r"[-+*/·×].*=")
"""An equation that computes its right side."""


def stated_answer(text: str, reader: AnswerReader) -> str | None:
    """Return the answer that a final answer states, None without one or with more than one."""
    lines = plain_lines(text)
    found = [*_statements(lines, reader), *_short_lines(lines, reader)]
    if not found and lines:
        return _conclusion(lines[_last(lines)], reader)
    kept = _not_taken_back(sorted(found, key=lambda each: (each.line, each.at)), lines)
    answers = {each.answer for each in kept}
    return answers.pop() if len(answers) == 1 else None


def _not_taken_back(found: Sequence[_Statement], lines: Sequence[str]) -> Sequence[_Statement]:
    """Return the statements after the last place where the writer takes back an earlier one."""
    gone = [
        (number, match.start())
        for number, line in enumerate(lines)
        for match in _TAKES_BACK.finditer(line)
        if found and (number, match.start()) > (found[0].line, found[0].at)
    ]
    return [each for each in found if not gone or (each.line, each.at) > gone[-1]]


def _statements(lines: Sequence[str], reader: AnswerReader) -> Iterator[_Statement]:
    for number, line in enumerate(lines):
        for box in _BOXED.finditer(line):
            if _asserts(line, box.start(), box.end(), reader):
                yield _Statement(number, box.start(), reader.boxed(box[1]))
        if _HEADING.fullmatch(line) and number + 1 < len(lines):
            below = lines[number + 1]
            answer = reader.whole(below.translate(_BRACKETS)) or reader.stated(below)
            if answer and _asserts(below, 0, 0, reader):
                yield _Statement(number + 1, 0, answer)
            continue
        for stating in (_LABEL, _SENTENCE):
            for match in stating.finditer(line):
                said = line[match.end() :].translate(_BRACKETS)
                answer = reader.stated(said)
                if _UNDECIDED.match(said):
                    yield _Statement(number, match.start(), None)
                elif answer and _asserts(line, match.start(), match.end(), reader):
                    yield _Statement(number, match.start(), answer)


def _short_lines(lines: Sequence[str], reader: AnswerReader) -> Iterator[_Statement]:
    """Yield the answer of the first and of the last line, if the line contains nothing else.

    Two such lines in succession with different answers are a list, which has no answer.
    """
    for at in {0, _last(lines)} if lines else ():
        neighbour = lines[at - 1 if at else min(1, len(lines) - 1)]
        answer = reader.whole(lines[at])
        if answer and (at or "=" not in lines[at]) and not _doubted(lines[at], reader):
            listed = reader.whole(neighbour) not in {None, answer}
            listed = listed and not (_RESULT.search(lines[at]) and not _RESULT.search(neighbour))
            yield _Statement(at, 0, None if listed else answer)


def _conclusion(line: str, reader: AnswerReader) -> str | None:
    """Return the answer of the last sentence of a text without any statement."""
    start = max((stop.end() for stop in _END.finditer(line, 0, len(line) - 1)), default=0)
    sentence = line[start:].strip()
    taken_back = _TAKES_BACK.search(sentence) or _SUPPOSES.search(line)
    return None if taken_back or _doubted(sentence, reader) else reader.concluded(sentence)


def _last(lines: Sequence[str]) -> int:
    """Return the number of the last line that is no remark."""
    return max((at for at, line in enumerate(lines) if not _REMARK.match(line)), default=0)


def _asserts(line: str, start: int, end: int, reader: AnswerReader) -> bool:
    """Return whether the sentence around a statement asserts it."""
    begin = max((stop.end() for stop in _END.finditer(line, 0, start)), default=0)
    stop = _END.search(line, end)
    before = line[begin:start]
    if not _SUPPOSES.search(before):
        before = _HENCE.split(before)[-1]
    after = _REASON.split(line[end : stop.end() if stop else len(line)])[0]
    return not _doubted(before + line[start:end] + after, reader)


def _doubted(sentence: str, reader: AnswerReader) -> bool:
    said = _NOT_OTHERS.sub("", reader.without_choices(sentence))
    return any(pattern.search(said) for pattern in (_DOUBT, _SUPPOSES))
