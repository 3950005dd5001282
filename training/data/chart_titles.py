"""Titles and names of axes, in several languages and scripts."""

from random import Random

from training.data import phrasings, words
from training.data.samples import prose

_THINGS = (
    "Sales", "Rainfall", "Visitors", "Besucherzahlen", "Umsatz", "Ventes", "Ingresos",
    "Población", "Temperatur", "Gewicht", "Steps", "Downloads", "Revenue", "Speed", "Costs",
    "Attendance", "Harvest", "Ernte", "Récolte", "Cosecha", "Tickets", "Weight", "Growth",
    "Wachstum", "Croissance", "Crecimiento", "Niederschlag", "Précipitations", "Lluvia", "Energy",
    "Énergie", "Energía", "Stromverbrauch", "Miete", "Loyer", "Alquiler", "Noten", "Grades",
    "Marks", "Scores", "Goals", "Tore", "Buts", "Goles", "Laps", "Sleep", "Schlaf", "Sommeil",
    "Sueño", "Coffee", "Kaffee", "Café", "Bücher", "Livres", "Libros", "Eggs", "Eier", "Œufs",
    "Huevos", "Traffic", "Verkehr", "Trafic", "Tráfico", "Pressure", "Druck", "Pression",
    "Presión", "Latency", "Errors", "Fehler", "Erreurs", "Errores", "Votes", "Stimmen", "Budget",
    "Haushalt", "Dépenses", "Gastos", "Spenden", "Dons", "Donaciones", "Honey", "Honig", "Miel",
    "Fahrgäste", "Passengers", "Passagers", "Pasajeros", "Tide", "Snow", "Schnee", "Neige",
    "Nieve", "Øl", "Smør", "Værdi", "Försäljning", "Temperaturę", "Sprzedaż", "Příjmy", "Výška",
    "Höhe", "Hauteur", "Altura", "Überblick", "Übersicht", "Aperçu", "Resumen", "Продажи",
    "Температура", "Доходы", "Посетители", "Πωλήσεις", "Θερμοκρασία", "売上", "気温", "来客数",
    "温度", "销量", "人口", "매출", "방문자", "المبيعات", "الحرارة", "מכירות", "बिक्री", "तापमान",
    "ยอดขาย", "Bevölkerung", "Müll", "Köpfe", "Ärzte", "Năm", "Giá", "Doanh",
)  # fmt: skip
_SHAPES = (
    "{t} {y}", "{t} per week", "{t} by month", "{t} and {u}", "{t} vs {u}", "{t} over time",
    "{t} pro Woche", "{t} par mois", "{t} por mes", "{t} in {p}", "{t}: {u}", "My {t}", "{t} ({y})",
    "Our {t} in {y}", "{t} of the {w}", "The {w} and the {w}", "{t} ({w})", "{t} & {u}", "{p} {y}",
    "{t}, {y}", "{t} since {y}", "{t} – {p}", "{t} against {u}", "{w} {t}", "Q{q} {t}", "{t} Q{q}",
    "Team {p}", "Test {q}", "{t} für {p}", "{t} de {p}", "{w} per {w}", "{y}", "Chart {q}",
)  # fmt: skip


def title(rng: Random) -> str:
    """A title of a chart or an axis, usually one to four words."""
    draw = rng.random()
    if draw < 0.22:
        return rng.choice(_THINGS)
    if draw < 0.55:
        return _shaped(rng)
    if draw < 0.62:
        return words.foreign(rng)
    if draw < 0.66:
        return " ".join(rng.choice(phrasings.lines("sentences")).split()[:4]).strip("\"'«»“”.,:;!?")
    if draw < 0.8:
        return rng.choice((words.capital, words.word))(rng)
    return _heading(rng)


def _shaped(rng: Random) -> str:
    slots = {
        "t": rng.choice(_THINGS), "u": rng.choice(_THINGS), "y": str(rng.randint(1950, 2030)),
        "p": words.place(rng), "w": words.filler(rng), "q": str(rng.randint(1, 9)),
    }  # fmt: skip
    text = rng.choice(_SHAPES).format(**slots)
    return text.lower() if rng.random() < 0.12 else text


def _heading(rng: Random) -> str:
    text = rng.choice((words.words, prose))(rng, 1, 4)
    text = rng.choice((text[:1].upper() + text[1:], text.title(), text))
    return f"{text} {rng.randint(1990, 2030)}" if rng.random() < 0.15 else text
