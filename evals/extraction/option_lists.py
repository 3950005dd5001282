"""Lists that say of each option whether it is right, such as "A: false. B: true. C: false"."""

import re

from evals.extraction.readers import up_to

_VERDICT = re.compile(
    r"(?im)(?:^|(?<=[.;,✓✔✅☑✗✘❌]\s))[^\w\n✓✔✅☑✗✘❌]{0,20}(?:option\s+)?\(?(?-i:([A-D]))\b\)?"
    r"(?:[^\S\n]*[:.|–—-]+)?[^\S\n]*(?:(?:is|seems)\s+)?"
    r"((?:not\s+)?(?:true|correct|right|consistent|yes|false|wrong|incorrect|inconsistent|impossible"
    r"|invalid|no|possible)\b(?:(?!,\s*\(?[A-D]\b)[^\n.;])*[.;,]?|[^\n✓✔✅☑✗✘❌]*[✓✔✅☑✗✘❌])"
)
"""What a list says of one option: a word or a mark."""
_MARK_FIRST = re.compile(
    r"^([^\w\n]{0,20}[✓✔✅☑✗✘❌])[^\w\n]{0,20}(\(?[A-D]\b[^\n✓✔✅☑✗✘❌]*)$", re.M
)
"""A mark before an option in a list."""
_REJECTS = re.compile(
    r"(?i)[✗✘❌]|\b(?:not|no|false|wrong|in(?:correct|consistent|valid)|impossible)\b"
)
_MARKS = "✓✔✅☑✗✘❌"
_LONGEST = 10_000  # characters


def option_verdicts(text: str, last: str) -> tuple[dict[str, bool], str]:
    """Return whether a text accepts each option that it judges, and the text without this list.

    `last` is the letter of the last option. A mark before an option is moved behind it.
    """
    verdict = up_to(last, _VERDICT)
    listed = up_to(last, _MARK_FIRST).sub(r"\2 \1", text[-_LONGEST:].replace("*", ""))
    accepts = {
        letter: not _REJECTS.search(said.split(",")[0] if said[-1] not in _MARKS else said[-1])
        for letter, said in verdict.findall(listed)
    }
    return accepts, verdict.sub("", listed)
