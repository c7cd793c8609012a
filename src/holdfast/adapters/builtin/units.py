"""Unit conversion by exact factors: length, mass, temperature, time, data, speed, volume.

Factors are the international definitions (inch 2.54 cm, pound 0.45359237 kg, nautical mile 1852 m, US gallon 231 cubic
inches). ``kB`` is 1000 bytes and ``KiB`` 1024, as the standards have it; a year is 365.25 days and a month a twelfth of
it, and the answer says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from holdfast.adapters.builtin.numbers import approximate, parse_number, words_to_digits, write_number

MAX_INPUT = 200


@dataclass(frozen=True, slots=True)
class Unit:
    """``base = value * factor + offset``, in the base unit of its kind."""

    kind: str
    name: str
    """As the answer writes it."""
    factor: Fraction
    offset: Fraction = Fraction(0)


_TABLE = """
length       | m        | 1                     | m metre metres meter meters
length       | km       | 1000                  | km kilometre kilometres kilometer kilometers kms
length       | cm       | 1/100                 | cm centimetre centimetres centimeter centimeters
length       | mm       | 1/1000                | mm millimetre millimetres millimeter millimeters
length       | µm       | 1/1000000             | µm um micrometre micrometres micrometer micrometers micron microns
length       | nm       | 1/1000000000          | nm nanometre nanometres nanometer nanometers
length       | in       | 127/5000              | in inch inches
length       | ft       | 381/1250              | ft foot feet
length       | yd       | 1143/1250             | yd yard yards
length       | mi       | 201168/125            | mi mile miles
length       | nmi      | 1852                  | nmi nautical_mile nautical_miles
length       | ly       | 9460730472580800      | ly light_year light_years lightyear lightyears
mass         | kg       | 1                     | kg kilogram kilograms kilo kilos kgs
mass         | g        | 1/1000                | g gram grams
mass         | mg       | 1/1000000             | mg milligram milligrams
mass         | t        | 1000                  | t tonne tonnes metric_ton metric_tons
mass         | lb       | 45359237/100000000    | lb lbs pound pounds
mass         | oz       | 45359237/1600000000   | oz ounce ounces
mass         | st       | 317514659/50000000    | st stone stones
mass         | short tn | 45359237/50000        | ton tons short_ton short_tons
time         | s        | 1                     | s sec secs second seconds
time         | ms       | 1/1000                | ms millisecond milliseconds
time         | µs       | 1/1000000             | µs us microsecond microseconds
time         | ns       | 1/1000000000          | ns nanosecond nanoseconds
time         | min      | 60                    | min mins minute minutes
time         | h        | 3600                  | h hr hrs hour hours
time         | day      | 86400                 | d day days
time         | week     | 604800                | week weeks
time         | month    | 2629800               | month months
time         | year     | 31557600              | year years yr yrs
data         | byte     | 8                     | b byte bytes
data         | bit      | 1                     | bit bits
data         | kB       | 8000                  | kb kilobyte kilobytes
data         | MB       | 8000000               | mb megabyte megabytes
data         | GB       | 8000000000            | gb gigabyte gigabytes
data         | TB       | 8000000000000         | tb terabyte terabytes
data         | PB       | 8000000000000000      | pb petabyte petabytes
data         | kbit     | 1000                  | kbit kbits kilobit kilobits
data         | Mbit     | 1000000               | mbit mbits megabit megabits
data         | Gbit     | 1000000000            | gbit gbits gigabit gigabits
data         | KiB      | 8192                  | kib kibibyte kibibytes
data         | MiB      | 8388608               | mib mebibyte mebibytes
data         | GiB      | 8589934592            | gib gibibyte gibibytes
data         | TiB      | 8796093022208         | tib tebibyte tebibytes
speed        | m/s      | 1                     | m/s mps metres_per_second meters_per_second
speed        | km/h     | 5/18                  | km/h kmh kph kilometres_per_hour kilometers_per_hour
speed        | mph      | 1397/3125             | mph mi/h miles_per_hour
speed        | kn       | 463/900               | kn kt knot knots
speed        | ft/s     | 381/1250              | ft/s fps feet_per_second
volume       | L        | 1                     | l litre litres liter liters
volume       | mL       | 1/1000                | ml millilitre millilitres milliliter milliliters
volume       | m³       | 1000                  | m³ m3 cubic_metre cubic_metres cubic_meter cubic_meters
volume       | US gal   | 473176473/125000000   | gal gallon gallons us_gallon us_gallons
volume       | US pt    | 473176473/1000000000  | pint pints us_pint us_pints
volume       | US cup   | 473176473/2000000000  | cup cups us_cup us_cups
volume       | US fl oz | 473176473/16000000000 | fl_oz fluid_ounce fluid_ounces
volume       | US tbsp  | 473176473/32000000000 | tbsp tablespoon tablespoons
volume       | US tsp   | 157725491/32000000000 | tsp teaspoon teaspoons
"""


def _units() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for row in _TABLE.strip().split("\n"):
        kind, name, factor, spellings = (cell.strip() for cell in row.split("|"))
        unit = Unit(kind, name, Fraction(factor))
        for spelling in spellings.split():
            units[spelling.replace("_", " ")] = unit
    celsius = Unit("temperature", "°C", Fraction(1), Fraction(27315, 100))
    fahrenheit = Unit("temperature", "°F", Fraction(5, 9), Fraction(45967, 180))
    kelvin = Unit("temperature", "K", Fraction(1))
    for spelling in ("c", "°c", "celsius", "degrees celsius", "degree celsius", "degrees c", "centigrade"):
        units[spelling] = celsius
    for spelling in ("f", "°f", "fahrenheit", "degrees fahrenheit", "degree fahrenheit", "degrees f"):
        units[spelling] = fahrenheit
    for spelling in ("k", "kelvin", "kelvins"):
        units[spelling] = kelvin
    return units


UNITS = _units()
_WRITTEN_OUT = {"day", "week", "month", "year", "byte", "bit"}
_UNIT = "|".join(sorted((re.escape(spelling) for spelling in UNITS), key=len, reverse=True))
_AMOUNT = r"-?[0-9][0-9,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,2})?|-?\.[0-9]+|an?|half an?|one"
_LEAD = (
    r"\A(?:(?:hey|hi|ok|okay|so|and|now|please|can you|could you|would you|tell me|do you know)[\s,:]+)*"
    r"(?:what is|what are|how much is|how much are|how (?:long|far|fast|heavy|hot|cold|big) is"
    r"|convert|change|turn|express|calculate)?[\s:]*"
)
_FORWARD = re.compile(
    rf"{_LEAD}(?P<amount>{_AMOUNT})\s*(?P<source>{_UNIT})\s*(?:in|to|into|as|=|is how many|expressed in|converted to)"
    rf"\s*(?:the\s|how many\s)?(?P<target>{_UNIT})[\s?.!]*\Z"
)
_BACKWARD = re.compile(
    rf"\A(?:(?:hey|hi|ok|okay|so|and|now|please|can you|could you|tell me|do you know)[\s,:]+)*"
    rf"how (?:many|much)\s+(?P<target>{_UNIT})\s+(?:are|is|are there|is there|makes?|do|does|go|fit|equals?|in)\s*"
    rf"(?:there\s+)?(?:in\s+|into\s+|to\s+|is\s+|are\s+)?(?P<amount>{_AMOUNT})?\s*(?P<source>{_UNIT})"
    rf"(?:\s+(?:have|has|make|makes|equal))?[\s?.!]*\Z"
)


def answer_units(text: str) -> str | None:
    """The conversion if ``text`` asks for one and nothing else, otherwise ``None``."""
    if len(text) > MAX_INPUT:
        return None
    folded = text.lower().replace("\u2019", "'").replace("what's", "what is").strip()
    folded = re.sub(r"\s+", " ", words_to_digits(folded)).replace("deg ", "degrees ").replace("º", "°")
    match = _FORWARD.match(folded) or _BACKWARD.match(folded)
    if match is None:
        return None
    source, target = UNITS[match["source"]], UNITS[match["target"]]
    said = match["amount"] or "1"
    amount = {"a": Fraction(1), "an": Fraction(1), "one": Fraction(1), "half a": Fraction(1, 2)}.get(said)
    if said == "half an":
        amount = Fraction(1, 2)
    if amount is None:
        amount = parse_number(said.removeprefix("-"))
        if amount is None:
            return None
        amount = -amount if said.startswith("-") else amount
    if source.kind != target.kind:
        return (
            f"{source.name} measures {source.kind} and {target.name} {target.kind}: one does not convert to the other."
        )
    base = amount * source.factor + source.offset
    if source.kind == "temperature" and base < 0:
        return f"{write_number(amount)} {source.name} is below absolute zero, so there is no such temperature."
    value = (base - target.offset) / target.factor
    exact = write_number(value)
    shown = exact if "≈" not in exact and len(exact) <= 24 else f"≈ {approximate(value)}"
    shown = shown if shown.startswith("≈") else f"= {shown}"
    remark = ""
    if {source.name, target.name} & {"month", "year"} and source is not target:
        remark = " (a year taken as 365.25 days, a month as a twelfth of it)"
    elif source.kind == "data" and re.search(r"\b[kmgtp]b\b|(?:kilo|mega|giga|tera|peta)byte", folded):
        remark = " (decimal prefixes: 1 kB is 1000 bytes; KiB, MiB, GiB count in 1024)"
    return f"{write_number(amount)} {_name(source, amount)} {shown} {_name(target, value)}{remark}"


def _name(unit: Unit, value: Fraction) -> str:
    return unit.name + "s" if unit.name in _WRITTEN_OUT and value != 1 else unit.name
