"""The words after which a letter is an answer.

Beside English, the languages that OpenAI's simple-evals accepts for multilingual multiple choice
(`common.py` at commit 652c89d): there a colon must follow. Letters of other scripts likewise.
"""

from __future__ import annotations

import unicodedata

_FOREIGN = (
    "Antwort", "Respuesta", "Risposta", "Réponse", "Resposta", "Jawaban", "Jibu",
    "答案", "答复", "答曰", "答え", "答", "回答", "解答", "정답", "답변", "답",
    "উত্তর", "उत्तर", "الإجابة النهائية", "الإجابة الصحيحة هي", "الإجابة الصحيحة", "الإجابة هي",
    "الإجابة", "إجابة", "الجواب النهائي", "الجواب",
    "Idahun", "Ìdáhùn", "Idáhùn", "Àmọ̀nà", "Àdáhùn", "Ànúgọ", "Àṣàyàn",
)  # fmt: skip

FOREIGN_WORDS = tuple(
    sorted({unicodedata.normalize(form, word) for word in _FOREIGN for form in ("NFC", "NFD")})
)

LETTERS = {
    **{letter: letter for letter in "ABCD"},
    **dict(zip("abcd", "ABCD", strict=True)),
    **dict(zip("ＡＢＣＤ", "ABCD", strict=True)),
    **dict(zip("أبجد", "ABCD", strict=True)),
    **dict(zip("অবডঢ", "ABCD", strict=True)),
}
