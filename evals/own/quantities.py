r"""Numbers with a unit: `3.5 km`, `80\ \text{cm}`, `9.81 m s^{-2}`, `50 %`, `€100.00`.

Units are compared by their dimension and factor, so that 0.036 kW is 36 W, and 36 J is not. A scale
of temperature is a dimension of its own: nothing is converted between °C, °F and K.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from evals.extraction.arithmetic import changes_number, evaluated, sized
from evals.extraction.plain_text import without_markup


@dataclass(frozen=True)
class Unit:
    """A factor, and the powers of base units that it stands before; `text` is how it is written."""

    factor: Fraction
    powers: Mapping[str, int]
    text: str = ""


@dataclass(frozen=True)
class Quantity:
    """A number and its unit; None if it has none."""

    number: Fraction
    unit: Unit | None

    def __str__(self) -> str:
        """Return the number in at most 15 digits, and the unit as it was written."""
        number = f"{float(self.number):.15g}"
        return f"{number} {self.unit.text}" if self.unit else number

    @property
    def value(self) -> Fraction:
        """The number in base units."""
        return self.number * self.unit.factor if self.unit else self.number


_PREFIXES = {
    "": 0, "f": -15, "p": -12, "n": -9, "µ": -6, "μ": -6, "u": -6, "m": -3, "c": -2, "d": -1,
    "k": 3, "M": 6, "G": 9, "T": 12,
}  # fmt: skip
_LONG_PREFIXES = {
    "": 0, "femto": -15, "pico": -12, "nano": -9, "micro": -6, "milli": -3, "centi": -2,
    "deci": -1, "kilo": 3, "mega": 6, "giga": 9, "tera": 12,
}  # fmt: skip
_WITH_PREFIXES: dict[str, tuple[str, str, str]] = {
    "m": ("metre meter", "1", "m"),
    "g": ("gram gramme", "1e-3", "kg"),
    "s": ("second sec", "1", "s"),
    "A": ("ampere amp", "1", "A"),
    "K": ("kelvin", "1", "K"),
    "mol": ("mole", "1", "mol"),
    "L": ("litre liter", "1e-3", "m3"),
    "l": ("", "1e-3", "m3"),
    "Hz": ("hertz", "1", "s-1"),
    "N": ("newton", "1", "kg m s-2"),
    "Pa": ("pascal", "1", "kg m-1 s-2"),
    "bar": ("", "1e5", "kg m-1 s-2"),
    "J": ("joule", "1", "kg m2 s-2"),
    "eV": ("electronvolt", "1.602176634e-19", "kg m2 s-2"),
    "cal": ("calorie", "4.184", "kg m2 s-2"),
    "Wh": ("", "3600", "kg m2 s-2"),
    "W": ("watt", "1", "kg m2 s-3"),
    "C": ("coulomb", "1", "A s"),
    "V": ("volt", "1", "kg m2 s-3 A-1"),
    "Ω": ("ohm", "1", "kg m2 s-3 A-2"),
    "F": ("farad", "1", "kg-1 m-2 s4 A2"),
    "T": ("tesla", "1", "kg s-2 A-1"),
    "Wb": ("weber", "1", "kg m2 s-2 A-1"),
    "M": ("molar", "1000", "mol m-3"),
    "pc": ("parsec", "30856775814913673", "m"),
    "B": ("byte", "8", "bit"),
    "bit": ("", "1", "bit"),
}
"""Symbols with their names, their factor and their base units."""
_WITHOUT_PREFIXES: dict[str, tuple[str, str]] = {
    "min minute": ("60", "s"),
    "h hr hrs hour": ("3600", "s"),
    "d day": ("86400", "s"),
    "week": ("604800", "s"),
    "month": ("1", "month"),
    "yr yrs year": ("1", "year"),
    "t ton tonne": ("1000", "kg"),
    "lb lbs pound": ("0.45359237", "kg"),
    "in inch inche": ("0.0254", "m"),
    "ft foot feet": ("0.3048", "m"),
    "mi mile": ("1609.344", "m"),
    "Å angstrom ångström": ("1e-10", "m"),
    "au AU": ("149597870700", "m"),
    "ly light-year": ("9460730472580800", "m"),
    "M_sun M_odot M_⊙ solar-mass solar-masse": ("1", "solar mass"),
    "atm atmosphere": ("101325", "kg m-1 s-2"),
    "% percent per-cent": ("0.01", ""),
    "°C celsius degC": ("1", "°C"),
    "°F fahrenheit degF": ("1", "°F"),
    "° degree deg": ("1", "°"),
    "rad radian": ("1", "rad"),
    "€ EUR euro": ("1", "euro"),
    "$ USD dollar": ("1", "dollar"),
    "£ GBP": ("1", "pound sterling"),
    "¥ JPY yen": ("1", "yen"),
}
"""Symbols and names, with their factor and their base units."""
_DEGREE = {"°": 1}
_SCALES = ({"°C": 1}, {"°F": 1}, {"K": 1})
_BASE = re.compile(r"(.*?)(-?\d+)?")


def _parsed(base: str) -> dict[str, int]:
    """Return the powers in base units such as `kg m2 s-2`; a name with a space is one unit."""
    if base in {"solar mass", "pound sterling"}:
        return {base: 1}
    found = (_BASE.fullmatch(part) for part in base.split())
    return {part[1]: int(part[2] or 1) for part in found if part}


def _table() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for symbol, (names, factor, base) in _WITH_PREFIXES.items():
        for prefix, power in _PREFIXES.items():
            value = Fraction(factor) * Fraction(10) ** power
            units.setdefault(prefix + symbol, Unit(value, _parsed(base)))
        for prefix, power in _LONG_PREFIXES.items():
            value = Fraction(factor) * Fraction(10) ** power
            for name in names.split():
                for spelling in (name, f"{name}s"):
                    units[prefix + spelling] = Unit(value, _parsed(base))
    for spellings, (factor, base) in _WITHOUT_PREFIXES.items():
        for spelling in spellings.split():
            units[spelling] = Unit(Fraction(factor), _parsed(base))
            if len(spelling) > 2:
                units[f"{spelling}s"] = units[spelling]
    return units


_UNITS = _table()
_RAISED = re.compile(r"[⁺⁻]?[⁰¹²³⁴-⁹]+")
_FACTOR = re.compile(
    r"(?P<operator>[/·*]|\bper\b|\b(?:times|by)\b)?\s*"
    r"(?:(?P<size>square|cubic)\s+)?(?P<name>(?:°|deg)[CF](?![A-Za-z])|[%°€$£¥]|[^\W\d]+(?:-[^\W\d]+)?)"
    r"\s*(?:\^?\s*\{?\s*(?P<power>-?\d)\s*\}?)?\s*"
)
_PLAIN = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<digits>(?:\d{1,3}(?:[, ]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE](?P<exponent>[+-]?\d{1,3})(?![\w.]))?"
)
_POWER_OF_TEN = re.compile(
    r"\s*(?:\\times|\\cdot|×|·|\*|x)\s*10\s*\^?\s*\{?\s*(?P<power>[+-]?\d{1,3})\s*\}?"
)
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_FACTORS = re.compile(r"[ ·*]+(?=[^\W\d])")
_EXTENT = re.compile(r"\s+(?:old|long|tall|wide|high|deep|thick|apart|away)$")
LARGEST = 10**300  # a float holds it
_MOST_DIGITS = 1000  # with separators; more are a model that repeats one
_SYMBOL = 2  # letters; the case of longer units does not matter


def read_unit(text: str) -> Unit | None:
    """Return the unit that a text consists of, such as `km/h`; None for other texts."""
    bare = _RAISED.sub(lambda raised: f"^{unicodedata.normalize('NFKC', raised[0])}", text)
    bare = bare.replace("−", "-")
    bare = _spelled(bare).strip(" ().*")
    factor, powers, names, at = Fraction(1), Counter[str](), Counter[str](), 0
    while at < len(bare):
        part = _FACTOR.match(bare, at)
        if not part:
            return None
        name = part["name"]
        unit = _UNITS.get(name) or (_UNITS.get(name.casefold()) if len(name) > _SYMBOL else None)
        if unit is None:
            return None
        power = int(part["power"] or {"square": 2, "cubic": 3}.get(part["size"] or "", 1))
        power = -power if part["operator"] in {"/", "per"} else power
        names[name] += power
        factor *= unit.factor**power
        for base, exponent in unit.powers.items():
            powers[base] += exponent * power
        at = part.end()
    if not at:
        return None
    return Unit(factor, {base: power for base, power in powers.items() if power}, _written(names))


def _written(names: Mapping[str, int]) -> str:
    """Return the names of units with their powers, such as `m/s^2` for metres and seconds."""
    raised = [(name, power) for name, power in names.items() if power > 0]
    below = [(name, -power if raised else power) for name, power in names.items() if power < 0]
    parts = [
        [name if power == 1 else f"{name}^{power}" for name, power in each]
        for each in (raised, below)
    ]
    return "/".join([" ".join(parts[0]), *parts[1]]) if raised else " ".join(parts[1])


def _spelled(text: str) -> str:
    """Return a unit with the symbols of the table."""
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\\degrees?(?![A-Za-z])|º|˚", "°", text)
    text = re.sub(r"\\(?:Omega|ohm)(?![A-Za-z])|Ω", "Ω", text)
    text = re.sub(r"\\mu\s*(?=[A-Za-z])", "µ", text)
    text = re.sub(r"\\AA(?![A-Za-z])", "Å", text)
    text = re.sub(r"M_?\s*\{?\s*(?:\\odot|☉|⊙|sun\b)\s*\}?", "M_sun", text)
    text = re.sub(r"\\cdot(?![A-Za-z])|⋅", "·", text).replace("\\%", "%")
    text = _FRACTION.sub(lambda unit: f"{unit[1]}/{_FACTORS.sub('/', unit[2].strip())}", text)
    text = re.sub(r"/\s*\(([^()]*)\)", lambda unit: f"/{_FACTORS.sub('/', unit[1].strip())}", text)
    text = re.sub(r"(?i)\bper cent\b", "percent", text)
    text = re.sub(r"(?i)\bsolar (?=mass)", "solar-", text)
    text = re.sub(r"(?i)\blight (?=years?\b)", "light-", text)
    text = re.sub(r"(?i)\b(?:degrees?|deg)\s+(?=celsius|fahrenheit|kelvin|[CF]\b)", "°", text)
    return re.sub(r"°\s*(celsius|fahrenheit|[CFK])\b", _scale, text, flags=re.IGNORECASE)


def _scale(name: re.Match[str]) -> str:
    letter = name[1][0].upper()
    return "K" if letter == "K" else f"°{letter}"


def read_quantity(text: str) -> Quantity | None:
    """Return the quantity that a text consists of.

    None for other texts, for unknown units, and for numbers from 10^300 on.
    """
    bare = without_markup(text).replace("−", "-").lstrip(" ~≈").rstrip(" ~≈.")
    currency = re.match(r"([+-]?)\s*([€£¥]|EUR|USD|GBP|JPY)\s*(?=\d)", bare)
    if currency:
        bare = currency[1] + bare[currency.end() :] + f" {currency[2]}"
    for number, rest in numbers_at_start(bare):
        if abs(number) >= LARGEST:
            return None
        rest = _EXTENT.sub("", without_parentheses(rest.strip(" ~.")))
        if not rest:
            return Quantity(number, None)
        unit = None if changes_number(rest) else read_unit(rest)
        if unit:
            return Quantity(number, unit)
    return None


def without_parentheses(text: str) -> str:
    """Return a text without parentheses at its ends, unless they are a pair within it."""
    within = text.count("(") == text.count(")") and not text.startswith("(")
    return text if within else text.lstrip(" ()~").rstrip(" ()~.")


def numbers_at_start(bare: str) -> list[tuple[Fraction, str]]:
    """Return the numbers that a text can begin with, and what is left after each."""
    found = []
    plain = _PLAIN.match(bare)
    if plain and len(plain["digits"]) > _MOST_DIGITS:
        return []
    if plain:
        number = Fraction(re.sub("[, ]", "", plain["digits"]))
        number *= Fraction(10) ** int(plain["exponent"] or 0)
        end = plain.end()
        if power := _POWER_OF_TEN.match(bare, end):
            number *= Fraction(10) ** int(power["power"])
            end = power.end()
        size, end = sized(bare, end)
        found.append((-number * size if plain["sign"] == "-" else number * size, bare[end:]))
    # the longest beginning that is an expression, as in `\sqrt{0.64} m`
    spaces = [space.start() for space in re.finditer(" ", bare)]
    for end in reversed([*spaces, len(bare)]):
        value = evaluated(bare[:end])
        if value is not None:
            found.insert(0, (value, bare[end:]))
            break
    return found


def difference(one: Quantity, other: Quantity) -> Fraction | None:
    """Return by how much two quantities differ, in the unit of the second; None if they cannot.

    One without a unit is taken to have that of the other, and beside a percentage it may also be a
    share; `degrees` are those of the other's scale.
    """
    if one.unit is None or other.unit is None:
        unit = one.unit or other.unit
        apart = abs(one.number - other.number)
        share = unit is not None and not unit.powers
        return min(apart, abs(one.value - other.value)) if share else apart
    named = dict(one.unit.powers), dict(other.unit.powers)
    if named[0] != named[1]:
        scaled = any(named[at] == _DEGREE and named[1 - at] in _SCALES for at in (0, 1))
        return abs(one.number - other.number) if scaled else None
    return abs(one.value - other.value) / other.unit.factor
