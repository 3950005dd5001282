"""Divides a text into sentences, clauses and remarks."""

import re
from collections.abc import Sequence

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
REMARK = re.compile(r"(?i)\W*(?:note|remark|check|verification|confidence|i hope|let me know)\b")
NEXT = re.compile(
    r"(?i)[,;]\s+(?:(?:whereas|while|and|but)\s+)?"
    r"(?=[^,;.]*\bthe next (?:one|such|smallest|largest|is)\b)[^,;.]*(?=[.\s]*$)"
)
"""A clause about the value after the answer, such as "the next one is 324"."""
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
BESIDE = re.compile(r"\s[(–—-]|[,;:.](?=\s|$)")


def last_line(lines: Sequence[str]) -> int:
    """Return the number of the last line that is not a remark."""
    return max((at for at, line in enumerate(lines) if not REMARK.match(line)), default=0)
