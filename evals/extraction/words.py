"""The words that models use to state, doubt, deny and take back an answer.

The languages are English, German, French, Spanish, Portuguese, Italian, Russian, Chinese, Japanese
and Korean, and for "the answer is" also those that OpenAI's simple-evals accepts in multilingual
multiple choice (`common.py` at commit 652c89d) and a dozen others. All expressions are regular
expressions for `pattern`, to be used on a line without markup (`evals.extraction.lines`).
"""

import re
import unicodedata


def pattern(expression: str) -> re.Pattern[str]:
    """A pattern that ignores case."""
    return re.compile(expression, re.IGNORECASE)


_OTHER_ANSWERS = (
    "Antwort", "Endergebnis", "Ergebnis", "Lösung", "Réponse", "Résultat", "Respuesta", "Resultado",
    "Solución", "Resposta", "Gabarito", "Risposta", "Risultato", "Soluzione", "Ответ", "Результат",
    "答案", "答复", "答曰", "答え", "答", "回答", "解答", "正解", "解", "정답", "답변", "답",
    "Jawaban", "Jibu", "উত্তর", "उत्तर", "الإجابة النهائية", "الإجابة الصحيحة", "الإجابة", "إجابة",
    "الجواب النهائي", "الجواب", "Antwoord", "Svaret", "Svar", "Vastaus", "Odpowiedź", "Odpověď",
    "Výsledek", "Відповідь", "Cevap", "Cevabı", "Yanıt", "Đáp án", "Đáp số", "Câu trả lời",
    "Răspuns", "Răspunsul", "Απάντηση", "תשובה", "התשובה", "คำตอบ",
    "Idahun", "Ìdáhùn", "Idáhùn", "Àmọ̀nà", "Àdáhùn", "Ànúgọ", "Àṣàyàn",
)  # fmt: skip
ANSWERS = tuple(
    sorted(
        {unicodedata.normalize(form, word) for word in _OTHER_ANSWERS for form in ("NFC", "NFD")},
        key=len,
        reverse=True,
    )
)
"""The word "answer" in languages other than English."""

RIGHT = (
    r"(?:correct|right|best|true|most (?:likely|suitable|appropriate|plausible|accurate)|richtig\w*"
    r"|korrekt\w*|correcte?s?|bonne|juste|vraie?|exacte|correct[ao]s?"
    r"|corret[ao]s?|cert[ao]|corrett[ao]|giust[ao]|esatta|juiste?|rätta?|riktiga?|rette"
    r"|poprawn\w+|prawidłow\w+|správná|doğru\w*|đúng|σωστή|הנכונה|ที่ถูกต้อง|सही"
    r"|правильн\w+|верн\w+|正确|正確|正しい?|(?:最も)?適切な?|適当|最適な|적절한|옳)"
)
"""Words for a choice."""

GOOD = (
    rf"(?:{RIGHT}|final|corrected|better|proper|chosen|selected|closest|listed|only|overall|required|desired"
    r"|requested|sought|wanted"
    r"|remaining|last|actual|endgültige|finale?|definitiva|τελική|הסופית|अंतिम|окончательн\w+|最终"
    r"|最終的な|최종)"
)
"""Adjectives that qualify the answer."""

OPTION = (
    r"(?:options?|choices?|statements?|alternativ[ae]s?|variants?|letter|letra|lettre"
    r"|lettera|Buchstabe|буква|match|fit|opción|opzione"
    r"|opção|optie|opcja|вариант|seçenek\w*|seçeneğ\w*|şık\w*|选项|選項|選択肢|옵션|선택지|보기|विकल्प|الخيار)"
)
QUANTITY = (
    r"(?:sum|total|remainder|number|count|product|result|area|perimeter|value|minimum|maximum"
    r"|integer|expression|output|summe|anzahl|zahl|wert|rest|suma|somme|nombre|valeur|número|valor"
    r"|soma|somma|numero|valore|totale?|resto|reste|сумма|число|количество|значение|остаток|liczba"
    r"|som|aantal)"
)
"""Words for what a problem asks for."""
_NOUN = rf"(?:answers?|responses?|best guess|ans\b\.?|ответ\w+|{'|'.join(map(re.escape, ANSWERS))})"
ANSWER = (
    rf"(?:(?:{GOOD}的?\s*){{0,3}}{_NOUN}(?:\s*(?:{OPTION}|key))?(?:\s*{GOOD}){{0,2}}"
    rf"|(?:{GOOD}的?\s*){{1,3}}(?:{OPTION}|{QUANTITY}|one)|{OPTION}\s+{GOOD}"
    rf"|(?:our|my)\s+(?:pick|choice|selection|guess))"
)
"""Subjects of a statement: the answer, the correct option, the final result."""

LABEL_ONLY = (
    rf"(?:results?|итого|solution|conclusion|final|total|tl;?dr|short version|selection|pick"
    rf"|{GOOD}|верно|{OPTION}|the letter|(?-i:A)(?=:))"
)
"""Further words that announce the answer if a colon follows them."""

_ADVERBS = (
    r"(?:[\s,]+(?:therefore|thus|hence|then|clearly|indeed|simply|just|(?:most )?likely|probably"
    r"|definitely|actually|still|bien|surely|certainly|obviously|of course|exactly|also|equal to"
    r"|daher|somit|folglich|donc|por (?:lo )?tanto|entonces|quindi|dunque|portanto|logo)\b)*[\s,]*"
)
IS = (
    rf"(?:['’]s\b|(?:is|are|was|(?:would|must|should|will|has to|can only)(?:{_ADVERBS}) be"
    r"|(?:appears|seems|turns out|happens|has) to be|comes (?:out )?to|equals|becomes|stays"
    r"|remains|ist|lautet|beträgt|est|es|é|è|равен|равно|равна|это|является"
    r"|är|er|jest|je|este|là|είναι|είναι η)(?![^\W_])"
    rf"|(?:应该?|就|即)?(?:是|为|為)|等于|选|選|は|が|은|는|هي|هو|היא|הוא|คือ|—|–|=){_ADVERBS}[:：]?\s*"
    r"(?:(?:(?:the|la|el|die|a|o|le)\s+)?(?:number|letter|letra|lettre|lettera|Zahl|número|numero"
    r"|nombre|число|буква)\s+)?"
)
"""The verb between "the answer" and the answer."""

CHOOSES = (
    r"(?:\b(?:I|we)(?:['’]d| would|['’]ll| will| am| have| must)? ?(?:choose|chose|select|pick"
    r"|answer|say|(?:go|going|went) (?:with|for)|opt for|settle on|report|submit)"
    r"|^\W*(?:choose|pick|select|say|going with|choosing|picking|selecting|let me (?:pick|choose"
    r"|go with|say))\b|\bi['’]m (?:fairly |quite |pretty )?(?:sure|confident)"
    r"|\b(?:ich wähle|je choisis|elijo|escolho|scelgo|(?:я )?выбираю)|选择?|選擇?"
    r"|\b(?:it (?:has to|must|can only) be|leaves|leaving|remains|left with|bleibt übrig))"
)
"""The writer makes a choice."""

FITS = (
    r"(?:\b(?:correspond\w*|match\w*|agree\w*|fits?|describe\w*|satisf\w+|works|explains"
    r"|accounts for|consistent"
    r"|points? to"
    r"|leads? to|equivalent|which is|that is|this is|must be|it is|it['’]s|i\.e\.,?|namely"
    r"|is exactly"
    r"|supports?|favou?rs?|confirms?|stands(?! for)|closest to|only|best|entspricht)(?![^\W_]))"
)
"""A choice fits the question."""

REASON = (
    r"because|since|as (?!the|my|our|is|are|an? )|whereas|while|for (?=[A-D]\b)|denn|weil|da|car"
    r"|puisque|porque|ya que|pois|perché|poiché|omdat|want|ponieważ|çünkü|так как|потому что"
    r"|поскольку"
)
"""The following text gives a reason."""

CONCEDES = (
    r"(?:while|whilst|although|though|even though|rather than|instead of|unlike|whereas|despite"
    r"|obwohl|während|anstatt|statt|bien que|aunque|embora|sebbene|anche se|хотя)"
)
"""A concession: the sentence does not assert the text up to the comma."""

CONCLUDES = (
    r"(?:(?:^|[,;:—–]\s*|\band\s+)\W*(?:so|thus|hence|therefore|consequently|finally|overall"
    r"|in conclusion|in total|altogether|it follows|(?:we|i) conclude|conclusion|adding|summing"
    r"|combining|in the end|damit|somit|also|daher|folglich|insgesamt|donc|ainsi|par conséquent"
    r"|por (?:lo )?tanto|luego|así|portanto|logo|assim|quindi|dunque|pertanto|итак|таким образом"
    r"|следовательно|значит)\b|\b(?:which|this|that) (?:means|implies|shows)(?: that)?\b"
    r"|\bfor a total of\b|\b(?:i\.e\.,?|namely,?|in other words,?) (?=\W?\d)"
    r"|\b(?:therefore|thus|hence|daher|somit|donc|por lo tanto|portanto"
    r"|quindi|(?:the|our) result (?=is|equals)|what is (?:asked|sought|wanted|required)"
    r"|(?:maximum|minimum|largest|smallest|greatest) (?:possible )?(?:value|number)"
    r"|gesuchte\w*|cherchée?s?|pedid[oa]|buscad[oa]|procurad[oa]|cercat[oa]|искомо?\w*)\b|所求|求める"
    r"|구하는|∴|⇒|⟹|⟶|因此|所以|故|综上|綜上|于是|以上より|したがって|従って|よって|ゆえに|따라서"
    r"|그러므로)"
)
"""A conclusion."""

NOT = (
    r"(?:\b(?:not|cannot|can['’]t|isn['’]t|aren['’]t|wasn['’]t|doesn['’]t|don['’]t|didn['’]t"
    r"|won['’]t"
    r"|wouldn['’]t|couldn['’]t|shouldn['’]t|never|neither|nor|none|no|nobody|nothing|without"
    r"|doubt\w*|unlikely|incorrect|wrong|false|invalid|inconsistent|incompatible"
    r"|mistakes?|errors?|rul(?:e|ed|es|ing) out"
    r"|eliminat\w+|exclud\w+|reject\w*|discard\w*|far from|except|fails?|impossible"
    r"|least (?:likely|plausible|suitable|appropriate)|contradict\w*|partially|partly"
    r"|nicht|kein\w*|weder|bezweifle|falsch|pas|ni|non|doute|doutes?|no|dudo|não|nem|duvido|né"
    r"|dubito|faux|fausses?|inexact\w*|incorrec\w+|incorret\w+|errad[ao]|erron\w+|sbagliat\w+"
    r"|не|ни|сомнева\w+|неверн\w*|nie|błęd\w+|nieprawid\w+|yanlış\w*|değil\w*|niet|geen|fout"
    r"|onjuist)\b"
    r"|неверен|ошиб|不|沒|没|未|非|错|錯|ません|ない|なく|誤|아니|아닙|않|틀|गलत|नहीं|ليس|غير|خطأ|خاطئ)"
)
"""A negation: its clause claims nothing."""

CONTRAST = (
    r"(?:n['’]t|(?:^|\s)(?:not|nicht|no|non|pas|não|не|nie|niet|değil))\s+[^.,;:?!]{0,25}(?:\d"
    r"|\b(?-i:[A-D])\b)"
    r"[^.,;:?!]{0,15}(?:,[^.,;:?!\d]{0,40})?[,;]?\s+"
    r"(?:but|sondern|sino|mais|mas|ma|bensì|а|lecz|maar|(?=it['’]s\s|it is\s))(?: rather)?\s*"
    r"(?=(?:[\w']+\s+){0,2}[^\w\s]*(?:\d|(?-i:[A-D])\b))"
    r"|不是\s?[^,.;。]{0,20}(?:\d|(?-i:[A-D]))[^,.;。]{0,10}[,、]?\s?而(?=是)"
    r"|(?<![\d.])(?:\d+|(?-i:\b[A-D]))\s*(?:ではなく|じゃなく)て?[、,]?\s*"
    r"|(?<![\d.])(?:\d+|(?-i:\b[A-D]))\s*(?:이|가)?\s*아니라,?\s*"
    r"|\bn['’](?=est pas [^.;:]{1,40}\bmais\b)"
    r"|\s?\((?:and |but )?(?:not|rather than|instead of|nicht|statt)\b[^()]*\)"
    rf"|,?\s(?:over|rather than|instead of|(?<=,\s)not)\s(?:the\s)?(?:{OPTION}\s)?[(⟦]?(?:\d+"
    rf"|(?-i:[A-D]))[)⟧]?"
    r"(?=\W*$|[.;]\s|\s(?:because|since|as)\b)"
)
"""Answers that are mentioned only to be denied, as in "not 7 but 8" and "8 (not 7)"."""

SUPPOSES = (
    r"(?:(?:^|[.;,]\s)\W*(?:had|were|should) (?:the|it|we|this|there)\b"
    r"|\b(?:if(?! i (?:have|had) to\b)|whether|suppose\w*|assum\w+|unless|might|could|may|maybe"
    r"|perhaps|possibly|either|otherwise"
    r"|(?:probability|chances?|odds|likelihood) (?:that|of) (?:the (?:correct )?answer"
    r"|(?-i:[A-D])\b)|(?:reply|response|message|(?:last|final) line) (?:must|should|has to) \w+"
    r"|would (?!be\b|answer|choose|pick|select|go\b|say)|tempt\w+|at first|first glance|initially"
    r"|originally|naive\w*|(?:initial|first) guess|thought|had (?:been|asked)|for [a-d] to be"
    r"|(?:students?|people|many|some|someone|one|they|you)(?: \w+)? (?:think|thought|say|said"
    r"|believe|answer|choose|guess|(?<!one )give)\w*|wenn|falls|ob|vielleicht|könnte|si|peut-être"
    r"|quizás|of the form|for (?:example|instance)|e\.g\.|tal vez|talvez|se|forse|если|возможно"
    r"|может)\b"
    r"|如果|假设|若|可能|もし|かもしれ|만약|아마)"
)
"""A supposition or a mere possibility: its sentence claims nothing."""

ALTERNATIVE = rf"(?:\balternatively\b|^\W*or\b|\bor (?:the )?{ANSWER}\W)"
"""The sentence has a second answer."""

TAKES_BACK = (
    r"(?:\b(?:no,? )?wait\b(?=\s*[,.!?…—–-]|$)|\bhold on\b|\bscratch that\b"
    r"|\bon (?:second thought|(?:further |closer )?reflection|closer inspection)\b"
    r"|\boops\b|\bi (?:made|have made|see|found) (?:a|an|my|the) [\w ]{0,20}?(?:mistake|error|slip)"
    r"|\bi (?:misread|miscounted|confused|transposed|swapped|forgot|overlooked|missed"
    r"|(?:have to|must|need to|will) change)\b"
    r"|\b(?:disregard|ignore) (?:that|this|the above|my)|^\W*(?:correction|edit|update)\b"
    r"|\blet me (?:re(?:do|count|consider|compute|start|think)|start over|start again|try again"
    r"|think again)|\b(?:need|have) to (?:redo|start over|recount|restart)"
    r"|\b(?:i|we) (?:could not|couldn['’]t|cannot|can['’]t|was unable to|were unable to"
    r"|am unable to|failed to) (?:\w+ )?"
    r"(?:repair|fix|resolve|reconcile|finish|complete|solve|determine|settle)"
    r"|\b(?:now|next),? (?:we|i) (?:still )?(?:need|must|have to) (?:find|count|compute|determine"
    r"|the (?:number|value|sum|area|length)\b)|\bit remains to (?:find|count|compute|determine)\b"
    r"|\bsomething (?:is|went|must have gone) (?:off|wrong)|\bactually,? (?:no\b|that"
    r"|this is (?:wrong|incorrect)|it['’]s not)|\bno, sorry\b"
    r"|(?:…|\.\.\.|(?<!^[A-D]\s)[—–])\s*no\b(?=\s*[,.!…]|$))"
)
"""The writer takes back the preceding text."""

TAKES_BACK_AT_ONCE = (
    r"\W*(?:(?:hmm+|no|but|actually|however|sorry)\b[\s,.…—–-]*)*"
    r"(?:(?:that|this|it)(?:['’]s| is| was| seems)(?: \w+){0,2}? (?:wrong|incorrect|impossible"
    r"|a mistake|not (?:right|correct|possible|valid|true|an? |what))"
    r"|(?:that|this|it) (?:contradicts|exceeds|misses|ignores|overlooks|neglects|omits|forgets"
    r"|fails|overcounts"
    r"|undercounts|double[- ]counts|counts|(?:can['’]t|cannot|could not) be"
    r"|(?:doesn['’]t|does not|cannot|can['’]t) (?:work|hold|fit))\b"
    r"|(?:no|nein|non|não|нет)\b(?=\s*[,.!—–])|hmm+\b|不对|不對|等等|いや|いいえ|아니(?=[,.])|아뇨)"
)
"""The same, in the sentence after an answer."""

REVISES = (
    r"(?:\b(?:actually|however|but|in fact|on closer|(?:re-?)?checking|re-?check\w*"
    r"|double[- ]?check\w*)\b)"
)
"""The following text may contradict the preceding text."""

LETTERS = {
    **{letter: letter for letter in "ABCD"},
    **dict(zip("abcd", "ABCD", strict=True)),
    **dict(zip("أبجد", "ABCD", strict=True)),
    **dict(zip("অবডঢ", "ABCD", strict=True)),
    **dict(zip("АВСД", "ABCD", strict=True)),
}
"""The spellings of the four letters; the last line is Cyrillic."""
