"""The phrases that state, doubt and take back an answer, as patterns for lines without markup.

They are mostly English. A pattern has words of German, French, Spanish, Portuguese, Italian,
Russian, Chinese, Japanese and Korean where these fit into it unchanged.
"""

import re

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

LABEL = re.compile(
    r"(?:^|(?<=[.;!?。)⟧]\s)|(?<=[{,]\s\")|(?<=[{,]\"))[^\w⟦]*"
    r"(?:(?:\d+[.)]|the|my|our|so|hence|thus|therefore|final_?)\s*)*"
    rf"(?:{_ANSWER}|{_LABEL_ONLY})(?:\s*\([^()]{{0,40}}\))?"
    r"[\s\"'*_]*(?:[:=→⇒–—]|-(?!\w)|=>)+",
    re.IGNORECASE,
)
"""A label at the start of a line or sentence, or of a member of a JSON object."""
HEADING = re.compile(rf"\W*(?:\d+[.)]\s+)?(?:the|my)?\s*{_ANSWER}[\s:.*_]*", re.IGNORECASE)
SENTENCE = re.compile(
    rf"(?<![A-Za-zÀ-ɏа-я-]){_ANSWER}(?:\s+(?:to|of)\b[^.:;?!,]{{0,60}}?)?[\s,]*"
    r"(?:(?:is|ist|lautet|beträgt|est|es|é|è|это|равен|равно|would be|must be)(?![^\W_])"
    r"|应该?是|应为|[是为選选はが은는]|—|–|:)"
    r"(?:[\s,]+(?:therefore|thus|hence|then|clearly|indeed|simply|probably|(?:most )?likely|also"
    r"|somit|daher|donc|por (?:lo )?tanto|portanto|quindi|dunque)\b)*[\s,]*:?\s*(?:l[ae]\s+)?",
    re.IGNORECASE,
)
"""The beginning of a sentence such as "the answer is"."""
UNDECIDED = re.compile(
    r"\W*(?:un(?:clear|known|decided|defined|determined)|cannot|none|neither|n/?a)\b", re.IGNORECASE
)
"""What follows a label if there is no answer."""
REMARK = re.compile(
    r"\W*(?:note|remark|check|verification|confidence|i hope|let me know)\b", re.IGNORECASE
)

END = re.compile(r"(?<!e\.g)(?<!i\.e)[.!?;][\"'”’)]*(?=\s|$)|[。！？]")
"""The end of a sentence."""
HENCE = re.compile(r"\b(?:so|hence|thus|therefore|consequently|giving)\b", re.IGNORECASE)
REASON = re.compile(r"\b(?:because|since|as|due to|weil|denn|car|puisque|porque|pois|perché)\b")
NOT_OTHERS = re.compile(
    r",?\s\(?(?:not|rather than|instead of)\s+(?:option\s+)?\(?(?:\d+|[A-D])\b[^.;()]*\)?(?=\W*$)"
)
"""Another answer that is denied, as in "8 (not 7)"."""
SUPPOSES = re.compile(
    r"\b(?:if|suppos\w+|assum\w+|unless|were|had|wenn|falls|si|se|если)\b|如果|若|もし|만약",
    re.IGNORECASE,
)
DOUBT = re.compile(
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
TAKES_BACK = re.compile(
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
