"""Losses of items in one sample of one event, compiled. The NumPy twin in tests is the reference.

Each place has a standard normal for its hazard and one for its damage, both made of a part of the whole event, a part
of its neighbourhood and a part of its own (one-factor Gaussian copula with a second, local factor). Items of a place
share them.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from geo.chance import mix, two_normals


@njit(cache=True, nogil=True)
def sample_items(
    sample: Any, item_place: Any, item_curve: Any, item_value: Any, place_key: Any, cell_key: Any, intensity: Any,
    sigma_ln: Any, knot_x: Any, knot_y: Any, n_knots: Any, event_h: float, event_d: float, weights_h: Any,
    weights_d: Any, start_local: Any, start_own: Any, curve: Any, table: Any, damage_on: bool, out: Any,
) -> None:  # fmt: skip
    """Writes the ground-up loss of each item to `out`.

    item_place (n_items,) : place of an item; items of one place stand together
    item_curve (n_items,) : row of knot_x, knot_y (n_curves, n): damage ratio by intensity, linear between the knots
    intensity, sigma_ln (n_places,) : median and standard deviation of its logarithm
    weights_h, weights_d (3,) : weights of event, neighbourhood and own part; squares add to one
    curve (n_means,) : see damage_spread.shifted_curve; table: see damage_spread.quantile_table
    """
    n_means = len(curve) - 1
    n_bins = table.shape[1]
    last = -1
    felt, bin_ = 0.0, 0
    for i in range(len(item_place)):
        p = item_place[i]
        if p != last:
            last = p
            local_h, local_d = two_normals(mix(start_local ^ cell_key[p]), sample)
            own_h, own_d = two_normals(mix(start_own ^ place_key[p]), sample)
            felt = intensity[p]
            if sigma_ln[p] > 0.0:
                z = weights_h[0] * event_h + weights_h[1] * local_h + weights_h[2] * own_h
                felt = felt * math.exp(sigma_ln[p] * z)
            if damage_on:
                z = weights_d[0] * event_d + weights_d[1] * local_d + weights_d[2] * own_d
                bin_ = min(int(0.5 * math.erfc(-z / math.sqrt(2.0)) * n_bins), n_bins - 1)
        c = item_curve[i]
        n = n_knots[c]
        if felt <= knot_x[c, 0]:
            mean = knot_y[c, 0] if felt == knot_x[c, 0] else 0.0
        elif felt >= knot_x[c, n - 1]:
            mean = knot_y[c, n - 1]
        else:
            lo, hi = 0, n - 1
            while hi - lo > 1:
                mid = (lo + hi) >> 1
                if knot_x[c, mid] <= felt:
                    lo = mid
                else:
                    hi = mid
            t = (felt - knot_x[c, lo]) / (knot_x[c, hi] - knot_x[c, lo])
            mean = knot_y[c, lo] + t * (knot_y[c, hi] - knot_y[c, lo])
        at = math.sqrt(mean) * n_means
        k = min(int(at), n_means - 1)
        # linear in the mean itself, so that a spread keeps its mean between knots
        t = (mean * n_means * n_means - k * k) / (2 * k + 1)
        mean = curve[k] + t * (curve[k + 1] - curve[k])
        if damage_on:
            at = math.sqrt(mean) * n_means
            k = min(int(at), n_means - 1)
            t = (mean * n_means * n_means - k * k) / (2 * k + 1)
            mean = table[k, bin_] + t * (table[k + 1, bin_] - table[k, bin_])
        out[i] = mean * item_value[i]


@njit(cache=True, nogil=True)
def sample_binned(
    sample: Any, item_place: Any, item_cdf: Any, item_value: Any, place_key: Any, cell_key: Any, cdf: Any,
    bin_from: Any, bin_to: Any, event_d: float, weights_d: Any, start_local: Any, start_own: Any, out: Any,
) -> None:  # fmt: skip
    """Writes the ground-up loss of each item to `out`, where damage is given as chances of bins.

    cdf (n_laws, n_bins) : cumulative chances of damage bins from bin_from to bin_to; item_cdf: law of an item, -1: none
    """
    n_bins = len(bin_from)
    last = -1
    u = 0.0
    for i in range(len(item_place)):
        p = item_place[i]
        if p != last:
            last = p
            _, local_d = two_normals(mix(start_local ^ cell_key[p]), sample)
            _, own_d = two_normals(mix(start_own ^ place_key[p]), sample)
            z = weights_d[0] * event_d + weights_d[1] * local_d + weights_d[2] * own_d
            u = 0.5 * math.erfc(-z / math.sqrt(2.0))
        c = item_cdf[i]
        out[i] = 0.0
        if c < 0:
            continue
        for b in range(n_bins):
            if u <= cdf[c, b] or b == n_bins - 1:
                before = cdf[c, b - 1] if b > 0 else 0.0
                width = cdf[c, b] - before
                t = (u - before) / width if width > 0.0 else 0.0
                out[i] = item_value[i] * (bin_from[b] + min(max(t, 0.0), 1.0) * (bin_to[b] - bin_from[b]))
                break


def warm_up() -> None:
    """Compiles, or loads from the cache, what the first footprint would wait for."""
    one, keys, i = np.ones(1), np.ones(1, dtype=np.uint64), np.zeros(1, dtype=np.int64)
    two, w, key = np.array([[0.0, 1.0]]), np.array([0.0, 0.0, 1.0]), np.uint64(1)
    sample_items(
        np.uint64(0), i, i, one, keys, keys, one, one, two, two, np.array([2]), 0.0, 0.0, w, w, key, key,
        np.array([0.0, 1.0]), np.zeros((2, 2)), True, np.zeros(1),
    )  # fmt: skip
