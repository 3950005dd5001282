"""Places as people name them: towns, regions and postal codes, bare or introduced."""

import string
from random import Random

from training.data import words

_TOWNS = (
    "Aberdeen", "Ålesund", "Alicante", "Amiens", "Antofagasta", "Aveiro", "Bath", "Bergamo",
    "Białystok", "Blackpool", "Boise", "Braga", "Brno", "Bursa", "Canterbury", "Chester", "Coimbra",
    "Dijon", "Dundee", "Elche", "Erfurt", "Eugene", "Exeter", "Fresno", "Gdynia", "Ghent",
    "Grenoble", "Groningen", "Győr", "Haarlem", "Hobart", "Hull", "Jena", "Jönköping",
    "Kassel", "Kanazawa", "Kumasi", "Le Mans", "Lille", "Limerick", "Lucca", "Lund", "Mainz",
    "Málaga", "Maribor", "Mérida", "Metz", "Miskolc", "Modena", "Mysore", "Nagoya", "Nantes",
    "Nelson", "Niš", "Norwich", "Olomouc", "Omaha", "Oviedo", "Padua", "Pau", "Pécs", "Piacenza",
    "Popayán", "Potsdam", "Pula", "Pune", "Quito", "Reno", "Rostock", "Salta", "Sendai", "Siena",
    "Sibiu", "Södertälje", "Swansea", "Tacoma", "Tampa", "Trento", "Trondheim", "Tromsø", "Tulsa",
    "Ulm", "Varna", "Viborg", "Vigo", "Weimar", "Worms", "Würzburg", "York", "Zadar", "Žilina",
    "Alice Springs", "Baden-Baden", "Baton Rouge", "Buenos Aires", "Cape Coast", "Chiang Mai",
    "Corpus Christi", "Da Nang", "El Paso", "Fort Worth", "Grand Rapids", "Ho Chi Minh City",
    "Kuala Lumpur", "La Rochelle", "Las Palmas", "Les Sables-d'Olonne", "Little Rock",
    "Mar del Plata",
    "Milton Keynes", "Mont-Saint-Michel", "Oak Ridge", "Palo Alto", "Ponta Delgada", "Port Louis",
    "Puerto Montt", "Rio Branco", "Salt Lake City", "San José", "Santa Fe", "São Luís",
    "Sioux Falls",
    "St. John's", "Stoke-on-Trent", "Stratford-upon-Avon", "Swift Current", "Ulan-Ude", "Vila Nova",
    "Walla Walla", "White Plains", "Bad Homburg", "Castle Combe", "Aix-en-Provence", "Val d'Isère",
    "札幌", "神戸", "金沢", "成都", "西安", "부산", "대구", "Казань", "Одеса", "Варна", "Ниш",
    "Πάτρα", "Βόλος", "חיפה", "أسوان", "طنجة", "پونے", "जयपुर", "เชียงใหม่",
    "თბილისი", "Երևան",
)  # fmt: skip
_REGIONS = (
    "Alsace", "Andalusia", "Aragón", "Bavaria", "Bohemia", "Brittany", "Burgundy", "Calabria",
    "Carinthia", "Cornwall", "Crete", "Curaçao", "Dalmatia", "Devon", "Extremadura", "Galicia",
    "Gotland", "Jutland", "Kerala", "La Rioja", "Lapland", "Liguria", "Madeira", "Malta",
    "Mallorca",
    "Mauritius", "New Brunswick", "Nova Scotia", "Oaxaca", "Okinawa", "Patagonia", "Piedmont",
    "Provence", "Punjab", "Queensland", "Rajasthan", "Réunion", "Sardinia", "Saxony", "Shetland",
    "Sichuan", "Sicily", "Silesia", "Skåne", "South Tyrol", "Tasmania", "Thuringia", "Transylvania",
    "Tuscany", "Tyrol", "Umbria", "Vermont", "Västerbotten", "Wallonia", "Yucatán", "Zealand",
)  # fmt: skip
_COUNTRIES = (
    "Albania", "Angola", "Argentina", "Armenia", "Austria", "Bangladesh", "Belgium", "Bolivia",
    "Brazil", "Cameroon", "Canada", "Chile", "Colombia", "Costa Rica", "Croatia", "Cuba", "Cyprus",
    "Denmark", "Ecuador", "Egypt", "Estonia", "Ethiopia", "Fiji", "Finland", "France", "Georgia",
    "Germany", "Ghana", "Greece", "Honduras", "Hungary", "India", "Indonesia", "Ireland", "Italy",
    "Jamaica", "Jordan", "Kenya", "Latvia", "Lebanon", "Madagascar", "Mexico", "Mongolia",
    "Morocco",
    "Namibia", "Nepal", "New Zealand", "Nigeria", "Oman", "Paraguay", "Peru", "Poland", "Romania",
    "Rwanda", "Scotland", "Senegal", "Serbia", "Slovakia", "South Africa", "Spain", "Sri Lanka",
    "Tanzania", "Tunisia", "Turkey", "Uganda", "Uruguay", "USA", "Vietnam", "Wales", "Zambia",
)  # fmt: skip
_STATES = ("Ohio", "Oregon", "Maine", "Texas", "Ontario", "TX", "CA", "WA", "NSW", "BC", "UK", "US")
_CODES = (
    "LLd dLL", "LLdd dLL", "Ld dLL", "LdL dLL", "LLdL dLL", "LLd dLL", "LdL dLd", "LdL dLd",
    "LdLdLd", "dddd LL", "dddd LL", "ddddLL", "ddddd", "ddddd", "ddddd-dddd", "ddd dd", "dd-ddd",
    "ddd-dddd", "dddd-ddd", "ddddd-ddd", "Ldd LLdd", "ddd ddd", "dddd", "dddddd", "L-dddd",
    "LL-dddd", "LLd LLd",
)  # fmt: skip
"""Formats of postal codes, from Britain to Luxembourg: L is a letter, d a digit."""
_CODE_NAMES = (
    "postcode {p}", "postal code {p}", "zip {p}", "ZIP {p}", "zip code {p}", "the postcode {p}",
    "ZIP code {p}", "the postal code {p}", "post code {p}", "code {p}", "the {p} postcode",
    "the {p} area", "area {p}", "the postal area {p}", "our postcode, {p}", "zipcode {p}",
    "the area with postcode {p}", "PLZ {p}",
)  # fmt: skip
_TOWN_NAMES = (
    "the city of {p}", "the town of {p}", "the village of {p}", "the port of {p}",
    "my hometown {p}", "lovely {p}", "good old {p}", "the area around {p}", "beautiful {p}",
)  # fmt: skip
_REGION_NAMES = (
    "the region of {p}", "the province of {p}", "the {p} region", "the {p} area",
    "the whole of {p}", "all of {p}",
)  # fmt: skip
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"), ("«", "»"), ("`", "`"), ("**", "**"))


def named(rng: Random) -> str:
    """The name of a town or region, real or made up."""
    draw = rng.random()
    if draw < 0.35:
        return rng.choice(_TOWNS)
    if draw < 0.45:
        return rng.choice(_REGIONS)
    if draw < 0.52:
        return f"{rng.choice(_TOWNS)}, {rng.choice((*_COUNTRIES, *_STATES))}"
    if draw < 0.57:
        return rng.choice(_COUNTRIES)
    return _letters(rng)


def _letters(rng: Random) -> str:
    """A place that is not a number."""
    while (where := words.place(rng)).isdigit():
        pass
    return where


def postal_code(rng: Random) -> str:
    """A postal code in the format of some country."""
    shape = rng.choice(_CODES)
    signs = {"L": string.ascii_uppercase, "d": string.digits}
    return "".join(rng.choice(signs[sign]) if sign in signs else sign for sign in shape)


def spoken(rng: Random) -> tuple[str, str]:
    """A place as worded in a request, and the place alone."""
    draw = rng.random()
    if draw < 0.16:
        code = postal_code(rng)
        if rng.random() < 0.12:
            code = code.lower()
        form = rng.choice(_CODE_NAMES) if rng.random() < 0.75 else "{p}"
        return form.replace("{p}", code), code
    if draw < 0.21:
        region = rng.choice(_REGIONS)
        return rng.choice(_REGION_NAMES).replace("{p}", region), region
    where = named(rng)
    if draw < 0.27 and "," not in where:
        return rng.choice(_TOWN_NAMES).replace("{p}", where), where
    if draw < 0.37:
        left, right = rng.choice(_QUOTES)
        return (where, where) if left in where else (f"{left}{where}{right}", where)
    if draw < 0.45:
        where = where.lower()
    return where, where
