"""Check digits: whether a number that looks like a card, an account or a person's can be one at all.

Each function takes the value without separators, in upper case. Sources: ISO/IEC 7812-1 (Luhn), ISO 13616 (IBAN), ISO
7064 (MOD 11,10), and the issuing states' published rules.
"""

from __future__ import annotations

_VERHOEFF_D = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
_VERHOEFF_P = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 5, 7, 6, 2, 8, 3, 0, 9, 4),
    (5, 8, 0, 3, 7, 9, 6, 1, 4, 2),
    (8, 9, 1, 6, 0, 4, 3, 5, 2, 7),
    (9, 4, 5, 3, 1, 2, 6, 8, 7, 0),
    (4, 2, 8, 6, 5, 7, 3, 9, 0, 1),
    (2, 7, 9, 3, 8, 0, 6, 4, 1, 5),
    (7, 0, 4, 6, 9, 1, 3, 2, 5, 8),
)
_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_HETU = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_FISCAL_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            2,
            4,
            18,
            20,
            11,
            3,
            6,
            8,
            12,
            14,
            16,
            10,
            22,
            25,
            24,
            23,
        ),
        strict=True,
    )
)
IBAN_LENGTHS = {
    "AD": 24,
    "AE": 23,
    "AL": 28,
    "AT": 20,
    "AZ": 28,
    "BA": 20,
    "BE": 16,
    "BG": 22,
    "BH": 22,
    "BI": 27,
    "BR": 29,
    "BY": 28,
    "CH": 21,
    "CR": 22,
    "CY": 28,
    "CZ": 24,
    "DE": 22,
    "DJ": 27,
    "DK": 18,
    "DO": 28,
    "EE": 20,
    "EG": 29,
    "ES": 24,
    "FI": 18,
    "FK": 18,
    "FO": 18,
    "FR": 27,
    "GB": 22,
    "GE": 22,
    "GI": 23,
    "GL": 18,
    "GR": 27,
    "GT": 28,
    "HR": 21,
    "HU": 28,
    "IE": 22,
    "IL": 23,
    "IQ": 23,
    "IS": 26,
    "IT": 27,
    "JO": 30,
    "KW": 30,
    "KZ": 20,
    "LB": 28,
    "LC": 32,
    "LI": 21,
    "LT": 20,
    "LU": 20,
    "LV": 21,
    "LY": 25,
    "MC": 27,
    "MD": 24,
    "ME": 22,
    "MK": 19,
    "MN": 20,
    "MR": 27,
    "MT": 31,
    "MU": 30,
    "NI": 28,
    "NL": 18,
    "NO": 15,
    "OM": 23,
    "PK": 24,
    "PL": 28,
    "PS": 29,
    "PT": 25,
    "QA": 29,
    "RO": 24,
    "RS": 22,
    "RU": 33,
    "SA": 24,
    "SC": 31,
    "SD": 18,
    "SE": 24,
    "SI": 19,
    "SK": 24,
    "SM": 27,
    "SO": 23,
    "ST": 25,
    "SV": 28,
    "TL": 23,
    "TN": 24,
    "TR": 26,
    "UA": 29,
    "VA": 22,
    "VG": 24,
    "XK": 20,
    "YE": 30,
}
"""How long an account number is, by country."""


def luhn(digits: str) -> bool:
    """Says whether the last digit checks the others (cards, Swedish and Canadian numbers)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 - (place + 1) % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban(value: str) -> bool:
    """Says whether an account number has its country's length and its check digits."""
    if IBAN_LENGTHS.get(value[:2]) != len(value):
        return False
    moved = value[4:] + value[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def card(digits: str) -> bool:
    """Says whether it is a card's number: a known brand's beginning and length, and the Luhn digit."""
    size, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        known = size in (13, 16, 19)
    elif 51 <= two <= 55 or 2221 <= four <= 2720:
        known = size == 16
    elif two in (34, 37):
        known = size == 15
    elif four == 6011 or two == 65 or 644 <= int(digits[:3]) <= 649 or two == 62 or 3528 <= four <= 3589:
        known = 16 <= size <= 19
    elif 300 <= int(digits[:3]) <= 305 or two in (36, 38, 39):
        known = 14 <= size <= 19
    elif two in (50, 56, 57, 58, 63, 67):
        known = size in (16, 18, 19)
    else:
        known = False
    return known and len(set(digits)) > 1 and luhn(digits)


def ssn(digits: str) -> bool:
    """Says whether a US social security number was ever given out so (area, group and serial)."""
    area = digits[:3]
    return area not in ("000", "666") and area[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def nino(value: str) -> bool:
    """Says whether a UK national insurance number has a prefix and suffix that are given out."""
    first, second = value[0], value[1]
    return (
        first not in "DFIQUV"
        and second not in "DFIOQUV"
        and value[:2] not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")
        and value[8] in "ABCD"
    )


def steuer_id(digits: str) -> bool:
    """Says whether a German tax id has its one repeated digit and its check digit (ISO 7064 MOD 11,10)."""
    body = digits[:10]
    counts = sorted((body.count(digit) for digit in set(body)), reverse=True)
    if digits[0] == "0" or counts[0] not in (2, 3) or (len(counts) > 1 and counts[1] != 1):
        return False
    product = 10
    for digit in body:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def nir(value: str) -> bool:
    """Says whether a French social security number has a month, a department and its key (97 less the rest)."""
    month = int(value[3:5])
    if value[0] not in "12" or not (1 <= month <= 12 or 20 <= month <= 42 or 50 <= month <= 99):
        return False
    number = value[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(value[13:])


def dni(value: str) -> bool:
    """Says whether a Spanish DNI or NIE has its letter."""
    number = value[:-1].translate(str.maketrans("XYZ", "012"))
    return _DNI[int(number) % 23] == value[-1]


def codice_fiscale(value: str) -> bool:
    """Says whether an Italian tax code has its check letter."""
    total = 0
    for place, sign in enumerate(value[:15]):
        even = int(sign) if sign.isdigit() else ord(sign) - ord("A")
        total += _FISCAL_ODD[sign] if place % 2 == 0 else even
    return chr(ord("A") + total % 26) == value[15]


def bsn(digits: str) -> bool:
    """Says whether a Dutch citizen service number passes the eleven test."""
    total = sum(weight * int(digit) for weight, digit in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), digits, strict=True))
    return total % 11 == 0 and digits != "000000000"


def belgian(digits: str) -> bool:
    """Says whether a Belgian national number has its two check digits, before or after 2000."""
    check = int(digits[9:])
    return any(97 - int(before + digits[:9]) % 97 == check for before in ("", "2"))


def pesel(digits: str) -> bool:
    """Says whether a Polish PESEL has a date and its check digit."""
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    total = sum(weight * int(digit) for weight, digit in zip(weights, digits, strict=False))
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    return 1 <= month <= 12 and 1 <= day <= 31 and (10 - total % 10) % 10 == int(digits[10])


def personnummer(digits: str) -> bool:
    """Says whether a Swedish personal number (ten digits) has a date and its Luhn digit."""
    month, day = int(digits[2:4]), int(digits[4:6])
    return 1 <= month <= 12 and (1 <= day <= 31 or 61 <= day <= 91) and luhn(digits)


def hetu(value: str) -> bool:
    """Says whether a Finnish personal identity code has a date and its check sign."""
    day, month = int(value[:2]), int(value[2:4])
    return 1 <= day <= 31 and 1 <= month <= 12 and _HETU[int(value[:6] + value[7:10]) % 31] == value[10]


def ahv(digits: str) -> bool:
    """Says whether a Swiss insurance number has the country's beginning and its EAN-13 digit."""
    total = sum(int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(digits[:12]))
    return digits.startswith("756") and (10 - total % 10) % 10 == int(digits[12])


def cpf(digits: str) -> bool:
    """Says whether a Brazilian CPF has its two check digits."""
    if len(set(digits)) == 1:
        return False
    for size in (9, 10):
        total = sum((size + 1 - place) * int(digit) for place, digit in enumerate(digits[:size]))
        if total * 10 % 11 % 10 != int(digits[size]):
            return False
    return True


def aadhaar(digits: str) -> bool:
    """Says whether an Indian Aadhaar number has its Verhoeff digit."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _VERHOEFF_D[check][_VERHOEFF_P[place % 8][int(digit)]]
    return digits[0] not in "01" and check == 0


def nhs(digits: str) -> bool:
    """Says whether a number of the British health service has its check digit (mod 11)."""
    total = sum((10 - place) * int(digit) for place, digit in enumerate(digits[:9]))
    return (11 - total % 11) % 11 == int(digits[9])
