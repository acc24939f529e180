"""Households onto other ways until no road has more to let through than it may, compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]


@njit(cache=True)
def count_queued(edges: Int32Array, start: IntArray, n_edges: int) -> Any:
    """(n_edges,) how many ways queue at the end of each edge.

    Nobody queues at the end of the edge on which a way ends: the safe zone stands before it.
    """
    n_queued = np.zeros(n_edges, dtype=np.int64)
    for i in range(len(start) - 1):
        for k in range(start[i], start[i + 1] - 1):
            n_queued[edges[k]] += 1
    return n_queued


@njit(cache=True)
def move_some(
    order: IntArray, old_edges: Int32Array, old_start: IntArray, new_edges: Int32Array, new_start: IntArray,
    longer_s: FloatArray, weight: FloatArray, budget: FloatArray, n_queued: IntArray, most: FloatArray, back: bool,
) -> Any:  # fmt: skip
    """(n,) True for households that go over to their new way.

    Parameters
    ----------
    order : households in the order in which they are asked
    longer_s : (n,) seconds by which the new way is longer
    weight, budget : (n, m), (m,): a move takes longer_s * weight[i] from each budget, and none may run out
    n_queued, most : (n_edges,) how many ways queue at the end of each edge, and how many may
    back : they move wherever there is room, and not only to leave an edge that has too many

    Notes
    -----
    A household moves where an edge of its old way, and not of its new one, has too many, and no other edge of its new
    way would then have too many. Writes `n_queued` and `budget` down.
    """
    moved = np.zeros(len(old_start) - 1, dtype=np.bool_)
    mark = np.full(len(n_queued), -1, dtype=np.int64)
    for i in order:
        for k in range(old_start[i], old_start[i + 1] - 1):
            mark[old_edges[k]] = i
        fits = True
        for k in range(new_start[i], new_start[i + 1] - 1):
            e = new_edges[k]
            if mark[e] == i:
                mark[e] = -2  # on both: nothing changes there
            elif n_queued[e] + 1 > most[e]:
                fits = False
        if not fits:
            continue
        crowded = back
        for k in range(old_start[i], old_start[i + 1] - 1):
            if mark[old_edges[k]] == i and n_queued[old_edges[k]] > most[old_edges[k]]:
                crowded = True
        if not crowded:
            continue
        paid = True
        for m in range(len(budget)):
            if longer_s[i] * weight[i, m] > max(budget[m], 0.0):
                paid = False
        if not paid:
            continue
        for k in range(old_start[i], old_start[i + 1] - 1):
            n_queued[old_edges[k]] -= 1
        for k in range(new_start[i], new_start[i + 1] - 1):
            n_queued[new_edges[k]] += 1
        for m in range(len(budget)):
            budget[m] -= longer_s[i] * weight[i, m]
        moved[i] = True
    return moved
