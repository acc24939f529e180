"""Samples over a Dask cluster: the same losses on one worker, on two, and without one."""

import numpy as np
import pytest

from geo import chance, cluster
from geo.loss import Chain, CurveSet, Felt, Samples, Uncertainty, simulate
from geo.terms import Level, Programme, Terms, with_columns

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


def setting() -> tuple[Chain, Felt]:
    n = 50
    i = np.arange(n)
    level = Level.make("site", i, with_columns(Terms.none(n), deductible=np.full(n, 3.0)))
    assert level is not None
    chain = Chain(Programme(n, i, (level,), (), np.ones(n, dtype=bool)), None, i % 5, 5, i % 3, i % 3, 3)
    key = chance.keys_of([str(k) for k in i])
    curves = CurveSet.make([((0.0, 5.0), (0.0, 1.0))])
    felt = Felt(9, i, i, i * 0, np.full(n, 10.0), key, key, np.full(n, 1.0), np.full(n, 0.2), curves, Uncertainty())
    return chain, felt


def same(a: Samples, b: Samples) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in Samples.__dataclass_fields__)


def test_one_and_two_workers_give_the_same_bits_as_none() -> None:
    chain, felt = setting()
    here = simulate(chain, felt, 45)
    for n_workers in (1, 2):
        with distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=False, host="127.0.0.1", protocol="tcp",
            dashboard_address=None,
        ) as local:  # fmt: skip
            client = cluster.connect(local.scheduler_address, timeout_s=60)
            try:
                assert same(simulate(chain, felt, 45, mapper=cluster.mapper(client)), here)
            finally:
                client.close()


def test_an_address_without_a_scheduler_is_told() -> None:
    with pytest.raises(cluster.NoCluster, match=r"tcp://127\.0\.0\.1:9"):
        cluster.connect("tcp://127.0.0.1:9", timeout_s=1)
    with pytest.raises(Exception, match="is not tcp"):
        cluster.connect("somewhere")
