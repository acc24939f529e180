"""Location rows as the lines of a CSV COPY: whole columns at once, since a book has a million of them."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pcsv
from h3.api.basic_int import latlng_to_cell

from geo.oed import LocationRow

H3_RESOLUTION = 9

_text = json.encoder.encode_basestring  # a text as JSON text, by C


def extra_json(extra: Mapping[str, str]) -> str:
    """Extra columns as JSON text, in the order of their names, so that the same row is the same text."""
    return "{" + ", ".join([f"{_text(name)}: {_text(extra[name])}" for name in sorted(extra)]) + "}"


def amounts(cents: npt.NDArray[np.int64]) -> pa.Array:
    """Hundredths (n,) as decimals with two digits, exactly: the 64 bits become the low half of 128."""
    halves = np.empty((len(cents), 2), dtype="<i8")
    halves[:, 0] = cents
    halves[:, 1] = cents >> 63  # the sign
    return pa.Array.from_buffers(pa.decimal128(38, 2), len(cents), [None, pa.py_buffer(halves)])


def copy_lines(rows: Sequence[LocationRow]) -> bytes:
    """The lines, in the order of columns of `copy_location_chunk`: texts in quotation marks, no value is nothing."""
    (_, accounts, numbers, lon, lat, country, occupancy, construction, *coverages, currency, perils, extra) = zip(
        *rows, strict=True
    )
    cells = [
        None if x is None or y is None else latlng_to_cell(y, x, H3_RESOLUTION) for x, y in zip(lon, lat, strict=True)
    ]
    columns: list[Any] = [
        pa.array(accounts, pa.string()), pa.array(numbers, pa.string()), pa.array(lon, pa.float64()),
        pa.array(lat, pa.float64()), pa.array(cells, pa.int64()), pa.array(country, pa.string()),
        pa.array(occupancy, pa.int64()), pa.array(construction, pa.int64()),
        *(amounts(np.array(cents, dtype=np.int64)) for cents in coverages),
        pa.array(currency, pa.string()), pa.array(perils, pa.string()),
        pa.array([extra_json(one) for one in extra], pa.string()),
    ]  # fmt: skip
    lines = io.BytesIO()
    pcsv.write_csv(
        pa.table(columns, names=[str(i) for i in range(len(columns))]), lines,
        pcsv.WriteOptions(include_header=False, quoting_style="needed"),
    )  # fmt: skip
    return lines.getvalue()
