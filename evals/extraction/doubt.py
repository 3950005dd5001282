"""Tells whether a sentence asserts what it names, or denies, supposes, asks or doubts it."""

import re

from evals.extraction.clauses import CONTRAST, END, EXPLAINS, HENCE, NOT_OTHERS, REASON
from evals.extraction.readers import AnswerReader, up_to

SUPPOSES = re.compile(
    r"(?i)\b(?:if|suppos\w+|assum\w+|unless|(?-i:Were)|were\b(?=.*\bwould)|had|si)\b"
    r"|如果|若|もし"
)
DENIES = re.compile(
    r"(?i)\b(?:not?|cannot|never|neither|nor|none|without|incorrect|wrong|false|invalid|fails?|failed"
    r"|impossible|mistak\w+|except|too|aside|ruled|excluded?|eliminat(?!ion)\w+|ni|nicht|keine?[mnrs]?|falsch\w*"
    r"|pas|faux|fausse|não|errad[ao]|falso|non(?!-)|sbagliat[ao]|не|нет|неверн\w*)\b|n['’]t\b"
    r"|[不没未非错誤]|ない|ません|なく|않|아니"
)
HEDGES = re.compile(
    r"(?i)\?|^\W*(?:now|next|then|first)\b|\b(?:so far|only (?:if|when|for|in|at|with)|doubt\w*"
    r"|unlikely|contradicts|(?:upper|lower) bound is|(?:remains?|needs?|still has) to"
    r"|(?<!un)less|more|at least|most(?! likely)|about"
    r"|least (?:likely|plausible|probable)|approximately|around|roughly|between|almost|nearly|under"
    r"|over|below|above|whether|might|could|may|maybe"
    r"|perhaps|possibly|(?<!all )possible(?! answer)|either|otherwise|tempting|at first|initial\w*"
    r"|(?<!best )(?<!educated )guess"
    r"|would (?!be\b|say|choose|pick|go with|answer)|originally|naive\w*|thought|sa(?:id|ys)|thinks"
    r"|believes|(?<!\bi )(?<!\bwe )(?<!['’]d )(?<!would )(?:say|think|believe|claims?)|case"
    r"|\d cases|(?:an?|one|another|some)\s+(?:\w+\s+)?(?:answers?|solutions?)\s+(?:is|are|would)"
    r"|example|alternatively|often|common|potential|known|simplified|similar|partial\w*|intermediate"
    r"|missing|general|first|second|(?:must|should) (?:end|be of)|so does|lies|or|although|though"
    r"|(?:many|some|few|other) (?:students|people|textbooks|sources|authors)|part|step|candidate"
    r"|(?:expected|official|reference|claimed|proposed) (?:answer|solution)|quizás|tal vez"
    r")\b|可能|或|[≤≥<>≠≈]"
)
"""Words of a sentence that asks something, or states something else than the answer."""
_CONCEDES = re.compile(
    r"(?i),?\s(?:though|although|but)\s+(?:"
    r"i(?:['’]?m| am| did| do| have| can| could)(?: ?not|n['’]t) (?:\w+ ){0,2}"
    r"(?:sure|certain|confident|prove[dn]?|verif(?:y|ied)|check(?:ed)?)\b"
    r"|(?:option )?\(?[A-D]\)? (?:is|comes|looks) "
    r"(?:tempting|(?:a |the )?(?:close second|runner-up))"
    r"|(?<=ough )(?!.*\b(?:may|might|could|would|can|also|equal\w*|if|or|only|wrong|incorrect|false"
    r"|mistak\w*|[A-D])\b|.*\d))[^.;!?]*"
)
"""What a writer concedes who is not certain of the one answer, or names the next best one."""
_NOTES = re.compile(
    r"(?i)\s\((?:note|see|recall|remember|for comparison|many|most|some)\b"
    r"(?![^()]*\b(?:wrong|incorrect|mistake|not (?:sure|certain|right|correct))\b)[^()]*\)"
    r"|\s\((?=[^()]*[<>≤≥≈=])(?![^()]*[^\W\d_]{3})[^()]*\)"
)
"""A note, or a formula, in parentheses that does not void the answer."""
_WOULD_BE = re.compile(r"[^,;:()]*\bwould (?:be|have been)\b")
"""What follows an answer that is not the one asked for."""


def denied(said: str) -> bool:
    """Return whether a text denies or supposes something."""
    return any(pattern.search(said) for pattern in (DENIES, SUPPOSES))


def doubted(said: str) -> bool:
    """Return whether a text denies, supposes or asks something."""
    return any(pattern.search(said) for pattern in (DENIES, HEDGES, SUPPOSES))


def asserts(line: str, start: int, end: int, reader: AnswerReader) -> bool:
    """Return whether the sentence around a statement asserts it."""
    begin = max((stop.end() for stop in END.finditer(line, 0, start)), default=0)
    stop = END.search(line, end)
    before = "" if line[:start].endswith('"') else line[begin:start]  # a member of a JSON object
    if not SUPPOSES.search(before):
        before = CONTRAST.split(HENCE.split(before)[-1])[-1]
    after = REASON.split(line[end : stop.end() if stop else len(line)])[0]
    after = EXPLAINS.split(after)[0]
    if _WOULD_BE.match(after):
        return False
    return not denies_or_doubts(before + line[start:end] + after, reader)


def denies_or_doubts(sentence: str, reader: AnswerReader) -> bool:
    """Return whether a sentence denies, supposes or asks something besides other answers."""
    sentence = up_to(reader.last, _CONCEDES).sub("", _NOTES.sub("", sentence))
    return doubted(up_to(reader.last, NOT_OTHERS).sub("", reader.without_choices(sentence)))
