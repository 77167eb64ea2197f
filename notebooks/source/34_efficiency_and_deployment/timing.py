"""How long a call takes, measured so that one can trust it."""

import statistics
import time
from collections.abc import Callable


def median_ms(call: Callable, times: int = 15, clock: Callable = time.perf_counter) -> float:
    """The median of how long `call` takes, in ms; three calls before it do not count.

    `clock` gives seconds: as they pass on the wall, or with `time.process_time` those that this
    process computed.
    """
    taken = []
    for _ in range(times + 3):
        begin = clock()
        call()
        taken.append(1000 * (clock() - begin))
    return statistics.median(taken[3:])
