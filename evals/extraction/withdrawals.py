"""Finds the places where a writer takes back an answer, or confirms it."""

import re
from collections.abc import Sequence

from evals.extraction.readers import AnswerReader, Statement
from evals.extraction.sentences import doubted

TAKES_BACK = re.compile(
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
    r"|corrected|also (?:correct|right|acceptable|possible|valid)"
    r"|(?:correct|right|acceptable|possible|valid),? (?:too|as well))\b"
    r"|\bno, |(?:^|[.!?…]\s+)(?:no|nein|non|não|нет)\b(?=\s?[,.!—–])"
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
    r"|also (?:follows|(?:be )?(?:seen|obtained|derived|checked|verified|found|proved))"
    r"|(?:that|this|it|everything|all) (?:holds|matches|agrees|works|checks out|fits))\b"
)
"""A second way to the answer, or what says that the answer holds."""
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


def not_taken_back(
    stated: Sequence[Statement], lines: Sequence[str], reader: AnswerReader
) -> Sequence[Statement]:
    """Return the statements after the last place where the writer takes back an earlier one.

    A remark that only confirms the answer ("Let me check: 6·7 = 42. ✓") takes nothing back.
    """
    first = (stated[0].line, stated[0].at)
    for number in range(len(lines) - 1, first[0] - 1, -1):
        gone = [(number, match.start()) for match in TAKES_BACK.finditer(lines[number])]
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
    checked = re.search("(?i)check|verify", checks[0]) and _CONFIRMS.search(said)
    computed = {value.replace(",", "") for value in _EQUALS.findall(remark)}
    return bool(answer in computed or checked or _ALSO.search(said))
