"""Numbers in the notation of the server: the same digits as Python's, and the exponent where the server has one.

Two texts of one number are two values to a content digest.
"""

from __future__ import annotations

import decimal
import re

# A whole text of JSON is read as its strings and its numbers, so that what looks like a number in a string stays.
_STRING_OR_EXPONENT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?e[-+]\d+')


def with_server_exponents(text: str) -> str:
    """A text of `json`, with its doubles as the server writes them.

    The two differ only where Python writes an exponent.
    """
    if "e-" not in text and "e+" not in text:
        return text
    return _STRING_OR_EXPONENT.sub(lambda found: found[0] if found[0][0] == '"' else shortest(found[0]), text)


def shortest(text: str, least: int = -5, most: int = 16) -> str:
    """Python's shortest digits in the notation of the server: without an exponent where the point stands
    at least and at most so many places from the first digit. Singles and doubles differ in that.
    """
    names = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    if text in names:
        return names[text]
    number = decimal.Decimal(text)
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int), "the number is finite"
    while len(digits) > 1 and digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    figures = "".join(map(str, digits))
    # The value is 0.FIGURES times ten to the point-th.
    point = len(figures) + exponent
    minus = "-" if sign else ""
    if figures == "0":
        return minus + "0.0"
    if 0 < point <= most:
        if point >= len(figures):
            return f"{minus}{figures.ljust(point, '0')}.0"
        return f"{minus}{figures[:point]}.{figures[point:]}"
    if least < point <= 0:
        return f"{minus}0.{'0' * -point}{figures}"
    mantissa = figures[0] + ("." + figures[1:] if len(figures) > 1 else "")
    return f"{minus}{mantissa}e{point - 1:+d}"
