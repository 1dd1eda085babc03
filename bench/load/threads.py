"""Load by threads, for servers that do not speak HTTP; each call sends one unit and waits for its answer."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from bench.load.result import Load


def send(units: Sequence[Callable[[], int]], *, seconds: float) -> Load:
    """Call each of `units` again and again in a thread of its own; a call returns the events it got acknowledged.

    Raises the first error of any thread.
    """
    taken: list[list[float]] = [[] for _ in units]
    counts = [0] * len(units)
    errors: list[BaseException] = []
    begin = time.perf_counter()
    end = begin + seconds

    def work(index: int) -> None:
        unit, times = units[index], taken[index]
        try:
            while (start := time.perf_counter()) < end:
                counts[index] += unit()
                times.append(time.perf_counter() - start)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(units))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    elapsed = time.perf_counter() - begin
    p50, p99, most = np.percentile(np.concatenate(taken) * 1e3, (50, 99, 100))
    return Load(sum(counts), elapsed, float(p50), float(p99), float(most))
