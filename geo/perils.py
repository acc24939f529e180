"""OED peril codes: which single perils a group names, and whether a field of codes covers a peril.

Source: Open Exposure Data 5.0, peril values (Oasis LMF, github OasisLMF/ODS_OpenExposureData).
"""

from core.errors import InvalidInput

_GROUPS: dict[str, str] = {
    "BB1": "BBF BSK",
    "CC1": "CSB CPD",
    "GG1": "GG1",
    "MM1": "MNT MTR",
    "OO1": "ORF OSF",
    "PP1": "PP1",
    "QQ1": "QEQ QFF QTS QSL QLS QLF",
    "VV1": "VVA VVE VVL",
    "WW1": "WTC WEC WSS",
    "WW2": "WTC WEC",
    "XX1": "XSL XTD XHL XLT",
    "XZ1": "XSL XTD XHL XLT ZSN ZIC ZFZ ZST",
    "ZZ1": "ZSN ZIC ZFZ ZST",
}
_ALONE = "BBF BFR BSK CPD CSB MNT MTR ORF OSF PNF QEQ QFF QLF QLS QSL QTS SBU SSD VVA VVE VVL WEC WSS WTC " + (
    "XCH XHL XLT XSL XTD ZFZ ZIC ZSN ZST"
)
#: code -> the single perils it stands for
PERILS: dict[str, frozenset[str]] = {
    **{code: frozenset({code}) for code in _ALONE.split()},
    **{code: frozenset(members.split()) for code, members in _GROUPS.items()},
    "AA1": frozenset(_ALONE.split()),
}


class UnknownPeril(InvalidInput):
    """This is not an OED peril code."""


def perils_of(codes: str, *, field: str = "peril") -> frozenset[str]:
    """The single perils that codes separated by semicolons stand for; raises UnknownPeril."""
    found: set[str] = set()
    for code in codes.split(";"):
        known = PERILS.get(code.strip().upper())
        if known is None:
            raise UnknownPeril(f"{field}: {code.strip()!r} is not an OED peril code")
        found |= known
    return frozenset(found)


def covers(codes: str, peril: str | None, *, field: str = "peril", blank: bool = True) -> bool:
    """Whether a field of codes covers a peril (any member, where the peril is a group).

    Without a peril everything is covered. `blank` is what an empty field means.
    """
    if not codes.strip():
        return blank if peril is not None else True
    named = perils_of(codes, field=field)
    return peril is None or bool(named & perils_of(peril))
