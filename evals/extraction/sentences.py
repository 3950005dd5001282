"""Divides a text into sentences and clauses, and tells what a sentence asserts.

A sentence may also deny, suppose, ask or doubt what it names.
"""

import re

from evals.extraction.readers import AnswerReader, up_to

END = re.compile(r"(?<!e\.g)(?<!i\.e)[.!?;][\"'”’)]*(?=\s|$)|[。！？]")
"""The end of a sentence."""
HENCE = re.compile(r"\b(?:so|hence|thus|therefore|consequently|giving)\b", re.IGNORECASE)
CONTRAST = re.compile(
    r"(?i),?\s+(?:but|however,?)\s+|\s[–—]\s|\b(?:although|though|while|whereas)\b[^,;]*,\s"
)
"""What precedes the clause that states the answer: the end of another clause, or a concession."""
REASON = re.compile(
    r"\b(?:because|since|due to|porque|parce que|weil|denn|так как|provided(?: that)?"
    r"|as long as)\b|, as\b"
)
EXPLAINS = re.compile(r"(?<=[\w)⟧]) ?:\s+(?=\w)(?!(?i:not?|wait|none|neither|if|unless|or)\b)")
"""The beginning of an explanation after an answer, such as "the answer is C: it has no plane"."""
NOT_OTHERS = re.compile(
    r",?\s\(?(?:not|nicht|pas|et non|rather than|instead of)\s+(?:option\s+)?\(?(?:\d+|[A-D])\b"
    r"(?:(?! but )[^.;()])*\)?(?=\W*$)"
)
"""Another answer that is denied, as in "8 (not 7)"."""
NOT_BUT = re.compile(
    r"(?i)\b(?:not|nicht|non|pas|no|não|не)\s+[^\s,.;]{1,20},?\s+"
    r"(?:but(?:\s+rather)?|sondern|ma|mais|sino|mas|а)\s+(?=(?:option\s+)?[^\s,.;]{1,20}[\s.!]*$)"
)
"""An answer that is denied before the right one at the end of a sentence: "not C but D"."""
IF_ASKED = re.compile(
    r"(?i)\bif i (?:had|have|must) (?:to )?(?:guess|choose|pick|decide)\b[,:]?\s*"
)
"""The beginning of an answer by a writer who is not certain."""
SUPPOSES = re.compile(
    r"(?i)\b(?:if|suppos\w+|assum\w+|unless|(?-i:Were)|were\b(?=.*\bwould)|had|si)\b"
    r"|如果|若|もし"
)
DENIES = re.compile(
    r"(?i)\b(?:not?|cannot|never|neither|nor|none|without|incorrect|wrong|false|invalid|fails?|failed"
    r"|impossible|mistak\w+|except|too|aside|ruled|excluded?|eliminat(?!ion)\w+|ni|nicht|keine?[mnrs]?|falsch\w*"
    r"|pas|faux|fausse|não|errad[ao]|falso|non(?!-)|sbagliat[ao]|не|нет|неверн\w*)\b|n['’]t\b"
    r"|[✗✘❌不没未非错誤]|ない|ません|なく|않|아니"
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
    r"(?i)\s\((?:note|out of|see|recall|remember|for comparison|many|most|some)\b"
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
