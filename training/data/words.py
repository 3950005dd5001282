"""Random values: words, names, phrases and strings from the whole vocabulary and every script."""

import re
import string
from collections.abc import Sequence
from functools import cache
from random import Random

from training.data.spans import token_text

_VOCABULARY = 199_998
_GROWN = 0.12
_SYLLABLES = (
    "ka", "ro", "mi", "ten", "lu", "sha", "ber", "vin", "dol", "por", "esh", "qui", "zan",
    "tre", "mo", "gal", "fen", "rik", "ust", "ola", "yan", "dre", "pim", "cor", "nel", "bas",
    "tov", "wex", "jun", "hal", "ira", "opa", "sed", "kul", "vam", "nor", "lim", "eta", "gro",
    "bri", "pla", "sti", "cha", "thu", "ny", "za", "xo", "que",
)  # fmt: skip
_SCRIPTS = (
    r"[\u0400-\u04ff]", r"[\u0370-\u03ff]", r"[\u0590-\u05ff]", r"[\u0600-\u06ff]",
    r"[\u0900-\u097f]", r"[\u0980-\u0dff]", r"[\u0e00-\u0eff]", r"[\u3040-\u30ff]",
    r"[\u4e00-\u9fff]", r"[\uac00-\ud7af]", r"[\u10a0-\u10ff\u0530-\u058f]",
    r"[a-z\u00df-\u024f\u1e00-\u1eff]",
)  # fmt: skip


@cache
def _vocabulary() -> dict[str, tuple[str, ...]]:
    """Words of the vocabulary by kind: spaced lower, spaced capitalized, bare, and each script."""
    texts = [text for token in range(_VOCABULARY) if (text := token_text(token))]
    kinds = {"lower": r" [a-z]{3,12}", "capital": r" [A-Z][a-z]{2,12}", "bare": r"[a-z]{3,12}"}
    found = {
        kind: tuple(text.strip() for text in texts if re.fullmatch(pattern, text))
        for kind, pattern in kinds.items()
    }
    for at, script in enumerate(_SCRIPTS):
        matching = re.compile(rf" ?{script}{{2,10}}")
        found[f"script{at}"] = tuple(t.strip() for t in texts if matching.fullmatch(t))
    return found


def _joined(rng: Random, first: str, kind: str, chance: float = _GROWN) -> str:
    """The word, sometimes joined with another one, so that it takes several tokens."""
    return first + rng.choice(_vocabulary()[kind]) if rng.random() < chance else first


def _drawn(rng: Random, kind: str, common: float) -> str:
    """A word, with probability `common` a frequent one, which the vocabulary lists first."""
    found = _vocabulary()[kind]
    return found[rng.randrange(2500)] if rng.random() < common else rng.choice(found)


def word(rng: Random) -> str:
    """A lower-case word."""
    return _joined(rng, _drawn(rng, "lower", 0.65), "bare")


def filler(rng: Random) -> str:
    """A word that only fills a phrase."""
    return _drawn(rng, "lower", 0.7)


def capital(rng: Random) -> str:
    """A capitalized word: from the vocabulary, or made up of several pieces."""
    draw = rng.random()
    if draw < 0.6:
        return _joined(rng, _drawn(rng, "capital", 0.6), "bare")
    if draw < 0.8:
        return rng.choice(_vocabulary()["lower"]).capitalize()
    return made_up(rng).capitalize()


def made_up(rng: Random) -> str:
    """A made-up word that is in no vocabulary."""
    return "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4)))


def foreign(rng: Random) -> str:
    """A word in some script other than plain ASCII."""
    script = f"script{rng.randrange(len(_SCRIPTS))}"
    return _joined(rng, rng.choice(_vocabulary()[script]), script)


def words(rng: Random, low: int, high: int) -> str:
    """Several lower-case words."""
    return " ".join(word(rng) for _ in range(rng.randint(low, high)))


def sentence(rng: Random) -> str:
    """Words with an initial capital and perhaps a full stop."""
    text = words(rng, 2, 8).capitalize()
    return text + rng.choice(("", "", ".", "!", "?"))


def foreign_sentence(rng: Random) -> str:
    """Several words of one script."""
    script = f"script{rng.randrange(len(_SCRIPTS))}"
    spaced = " " if rng.random() < 0.8 else ""
    found, grown = _vocabulary()[script], rng.choice((0.0, 0.6))
    text = spaced.join(
        _joined(rng, rng.choice(found), script, grown) for _ in range(rng.randint(2, 6))
    )
    text = rng.choice((text, text, text.capitalize(), f"¿{text}", text.replace(" ", ", ", 1)))
    return text + rng.choice(("", "", ".", "?", "!", "。", "…"))


_PLACES = (
    "Aarhus", "Abidjan", "Abuja", "Acapulco", "Adelaide", "Agadir", "Albuquerque", "Algiers",
    "Amritsar", "Anchorage", "Antalya", "Arequipa", "Asunción", "Baku", "Bamako", "Bandung",
    "Belfast", "Belgrade", "Belo Horizonte", "Bishkek", "Bogotá", "Bologna", "Bordeaux",
    "Bratislava", "Brazzaville", "Brighton", "Brisbane", "Bruges", "Bucharest", "Bujumbura",
    "Cádiz", "Calgary", "Canberra", "Caracas", "Cardiff", "Cartagena", "Casablanca", "Chattanooga",
    "Chittagong", "Christchurch", "Cluj", "Colombo", "Conakry", "Córdoba", "Cork", "Cusco", "Dakar",
    "Dar es Salaam", "Darwin", "Debrecen", "Djibouti", "Doha", "Dortmund", "Dresden", "Dubrovnik",
    "Dunedin", "Durban", "Düsseldorf", "Edmonton", "Eindhoven", "Essaouira", "Faro", "Fez",
    "Fortaleza", "Fukuoka", "Galway", "Genoa", "Göteborg", "Granada", "Graz", "Guadalajara",
    "Guayaquil", "Haifa", "Halifax", "Hamburg", "Harare", "Hiroshima", "Honolulu", "Houston",
    "Hyderabad", "Innsbruck", "Iquitos", "Isfahan", "Jacksonville", "Jaipur", "Jakarta", "Jeddah",
    "Johannesburg", "Kampala", "Kaohsiung", "Karachi", "Kathmandu", "Kaunas", "Khartoum", "Kigali",
    "Kinshasa", "Košice", "Kraków", "Kyoto", "La Paz", "Lahore", "Lausanne", "Libreville",
    "Lilongwe", "Linz", "Liverpool", "Ljubljana", "Luanda", "Lusaka", "Luzern", "Łódź",
    "Maastricht", "Malaga", "Manila", "Maputo", "Marrakesh", "Maseru", "Medellín", "Mombasa",
    "Monterrey", "Montevideo", "Mumbai", "Murcia", "Nagasaki", "Nashville", "New Orleans",
    "Novi Sad", "Nuuk", "Odense", "Ostrava", "Ottawa", "Palermo", "Paramaribo", "Perth",
    "Phnom Penh", "Plovdiv", "Poznań", "Pretoria", "Puebla", "Punta Arenas", "Rabat", "Recife",
    "Rijeka", "Rotterdam", "Saint-Étienne", "Salzburg", "San Salvador", "Santa Cruz",
    "Santiago de Chile", "São Paulo", "Sapporo", "Sarajevo", "Seattle", "Sevilla", "Sheffield",
    "Skopje", "Split", "St. Gallen", "Stavanger", "Strasbourg", "Surabaya", "Suva", "Szczecin",
    "Tashkent", "Tbilisi", "Tegucigalpa", "Thessaloniki", "Thimphu", "Timișoara", "Toulouse",
    "Trieste", "Tripoli", "Uppsala", "Valparaíso", "Vancouver", "Verona", "Vientiane", "Vilnius",
    "Winnipeg", "Wrocław", "Yaoundé", "Yekaterinburg", "Yerevan", "Zagreb", "Zanzibar", "Zaragoza",
)  # fmt: skip


def place(rng: Random) -> str:
    """A place name of one to three words, sometimes a code or in another script."""
    draw = rng.random()
    if draw < 0.25:
        return rng.choice(_PLACES)
    if draw < 0.6:
        return capital(rng)
    if draw < 0.8:
        return f"{capital(rng)} {capital(rng)}"
    if draw < 0.84:
        return f"{capital(rng)}, {capital(rng)}"
    if draw < 0.88:
        return f"{capital(rng)}-{capital(rng)}"
    if draw < 0.94:
        return "".join(rng.choices(string.digits, k=rng.choice((4, 5, 5, 5, 6))))
    return foreign(rng).capitalize()


def person(rng: Random) -> str:
    """A first name, perhaps with a last name."""
    return capital(rng) if rng.random() < 0.6 else f"{capital(rng)} {capital(rng)}"


def identifier(rng: Random) -> str:
    """A name as programs use it."""
    parts = [word(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    return rng.choice(("_", "_", "_", "-")).join(parts)


def nonce(rng: Random) -> str:
    """A short code, as for orders, rooms and machines."""
    letters = "".join(rng.choices(string.ascii_uppercase, k=rng.randint(1, 4)))
    digits = "".join(rng.choices(string.digits, k=rng.randint(1, 5)))
    return rng.choice(
        (
            f"{letters}{digits}",
            f"{letters}-{digits}",
            f"{word(rng)}-{digits}",
            f"{word(rng)}_{digits}",
            "".join(rng.choices(string.ascii_uppercase + string.digits, k=rng.randint(4, 7))),
            digits,
        )
    )


def code_word(rng: Random) -> str:
    """A code word to remember."""
    draw = rng.random()
    if draw < 0.25:
        return word(rng)
    if draw < 0.4:
        return word(rng).upper()
    if draw < 0.5:
        return capital(rng)
    if draw < 0.6:
        return foreign(rng)
    if draw < 0.7:
        return f"{word(rng)}-{word(rng)}"
    if draw < 0.78:
        return word(rng).capitalize() + word(rng).capitalize()
    return nonce(rng)


def string_value(rng: Random) -> str:
    """Any short string."""
    makers = (word, capital, nonce, made_up, foreign, person)
    return rng.choice(makers)(rng) if rng.random() < 0.7 else words(rng, 2, 4)


def number_text(rng: Random) -> str:
    """A number of some size."""
    return str(rng.randint(0, 10 ** rng.randint(1, 5)))


def some(rng: Random, items: Sequence[str], low: int, high: int) -> list[str]:
    """A few different items in random order."""
    return rng.sample(items, min(len(items), rng.randint(low, high)))


def tokens(rng: Random) -> str:
    """A sequence of random pieces of the vocabulary, as clean text."""
    text = ""
    for _ in range(rng.randint(1, 6)):
        text += token_text(rng.randrange(_VOCABULARY)) or ""
    return "".join(char for char in text if char.isprintable()).strip() or word(rng)
