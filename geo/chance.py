"""Chance without a state: each draw is a function of seed, event, kind of draw, place and sample.

So a loss is the same number whichever worker computes it, in whatever order and in whatever chunks. SplitMix64 of
Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, OOPSLA, eq. in fig. 16: the hash of what a
draw belongs to is the start of its sequence, and the sample is the place in it. Normals by Box & Muller (1958).
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
KeyArray = npt.NDArray[np.uint64]

#: Kinds of draw: event-wide, of a neighbourhood, and of the place itself, for the hazard and for the damage; the curve.
EVENT, CURVE, LOCAL, OWN = 1, 2, 3, 4

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 1.0 / 9007199254740992.0  # 2 ** -53


@njit(cache=True, nogil=True, inline="always")
def mix(x: Any) -> Any:
    """The finaliser of SplitMix64: 64 bits to 64 bits, one to one."""
    x = (x ^ (x >> _S30)) * _A
    x = (x ^ (x >> _S27)) * _B
    return x ^ (x >> _S31)


@njit(cache=True, nogil=True, inline="always")
def two_normals(start: Any, sample: Any) -> Any:
    """Two independent standard normals: draw `sample` of the sequence that begins at `start`."""
    first = start + (np.uint64(2) * sample + np.uint64(1)) * _GOLDEN
    # in (0, 1]: its logarithm is finite
    u = (np.float64(mix(first) >> _S11) + 1.0) * _UNIT
    angle = 2.0 * math.pi * np.float64(mix(first + _GOLDEN) >> _S11) * _UNIT
    radius = math.sqrt(-2.0 * math.log(u))
    return radius * math.cos(angle), radius * math.sin(angle)


@lru_cache(maxsize=4096)
def start_of(seed: int, event: int, kind: int) -> np.uint64:
    """The common part of the starts of one kind of draw in one event."""
    with np.errstate(over="ignore"):
        found = mix_array(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64) + _GOLDEN)
        for part in (event, kind):
            found = mix_array(found ^ np.array([part & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))
    return np.uint64(found[0])


def mix_array(x: KeyArray) -> KeyArray:
    """`mix` of each element, by NumPy."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> _S30)) * _A
        x = (x ^ (x >> _S27)) * _B
        out: KeyArray = x ^ (x >> _S31)
    return out


@njit(cache=True, nogil=True)
def _normals(start: Any, keys: Any, sample: Any) -> Any:
    first, second = np.empty(len(keys)), np.empty(len(keys))
    for i in range(len(keys)):
        first[i], second[i] = two_normals(mix(start ^ keys[i]), sample)
    return first, second


def normals(start: np.uint64, keys: KeyArray, sample: int) -> tuple[FloatArray, FloatArray]:
    """Two independent standard normals (n,) for each key."""
    first, second = _normals(start, keys, np.uint64(sample))
    return first, second


def event_normals(seed: int, event: int, kind: int, samples: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Two independent standard normals (n_samples,) that a whole event shares."""
    start = start_of(seed, event, kind)
    pairs = [_normals(start, np.zeros(1, dtype=np.uint64), np.uint64(s)) for s in samples.tolist()]
    return np.array([p[0][0] for p in pairs]), np.array([p[1][0] for p in pairs])


def keys_of(*columns: Any) -> KeyArray:
    """(n,) a key for each row of some columns of texts, the same in every file and on every machine.

    SipHash of the texts by pandas (fixed hash key), combined in order; blank texts count.
    """
    from pandas.util import hash_array

    found = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        texts = np.asarray(column, dtype=object)
        found = mix_array(found ^ hash_array(texts, categorize=False).astype(np.uint64))
    return found


def cells_of(lon: FloatArray, lat: FloatArray, size_km: float, otherwise: KeyArray) -> KeyArray:
    """(n,) the key of the neighbourhood of each point: fields of `size_km` by `size_km` in rows of latitude.

    A point without a place is its own neighbourhood: the key `otherwise` gives it.
    """
    degree_km = 111.195
    placed = np.isfinite(lon) & np.isfinite(lat)
    row = np.floor(np.where(placed, lat, 0.0) * degree_km / size_km)
    middle = np.cos(np.radians(np.clip((row + 0.5) * size_km / degree_km, -89.9, 89.9)))
    column = np.floor(np.where(placed, lon, 0.0) * degree_km * middle / size_km)
    with np.errstate(over="ignore"):
        packed = row.astype(np.int64).view(np.uint64) * np.uint64(1 << 32) + column.astype(np.int64).view(np.uint64)
    return np.where(placed, mix_array(packed), otherwise)
