"""Chunks of samples over a Dask cluster: the same losses, on more machines. Needs the extra `cluster`."""

from collections.abc import Iterable
from typing import Any

from core.errors import InvalidInput, Unavailable
from geo.loss import Chain, GroundUp, Mapper, Samples, Sources, run_chunk


class ClusterExtraMissing(Unavailable):
    """A cluster needs the package distributed; install the extra: tocsin[cluster]."""


class NoCluster(Unavailable):
    """There is no scheduler at this address."""


def connect(address: str, timeout_s: float = 10.0) -> Any:
    """A client of the scheduler at tcp://host:port (or tls://); raises ClusterExtraMissing, NoCluster.

    Whoever can reach a scheduler can run code on its workers: it belongs on a private network, or behind TLS.
    """
    if not address.startswith(("tcp://", "tls://")):
        raise InvalidInput(f"--cluster: {address!r} is not tcp://host:port")
    try:
        import distributed
    except ImportError as error:
        raise ClusterExtraMissing from error
    try:
        client: Any = distributed.Client
        return client(address, timeout=timeout_s)
    except (OSError, TimeoutError, ValueError) as error:
        raise NoCluster(f"--cluster: no scheduler answers at {address}") from error


def mapper(client: Any) -> Mapper:
    """Sends book and event to every worker once, and the chunks to whoever is free."""
    kept: dict[int, tuple[Any, Any]] = {}

    def scattered(value: Any) -> Any:
        # the book stays with the workers over the events of a set
        if id(value) not in kept:
            kept[id(value)] = (value, client.scatter(value, broadcast=True, hash=False))
        return kept[id(value)][1]

    def run(chain: Chain, ground_up: GroundUp, chunks: list[list[int]], sources: Sources) -> Iterable[Samples]:
        event = client.scatter(ground_up, broadcast=True, hash=False)
        futures = [client.submit(run_chunk, scattered(chain), event, chunk, sources, pure=False) for chunk in chunks]
        for future in futures:
            yield future.result()

    return run
