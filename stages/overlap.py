"""Work that overlaps: what is made ahead by a thread, and what is waited for one behind."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")

_END = object()


def made_ahead(things: Iterable[Thing], n: int) -> Generator[Thing, None, None]:
    """Have one thread make things, up to `n` ahead of whoever takes them; their order stays.

    What the making raises is raised here, in its place. Closing the iterator stops the thread; it
    waits for the thing that is being made.

    Parameters
    ----------
    things : made in the thread, one by one
    n : most that are made and not yet taken, at least 1

    Examples
    --------
    >>> list(made_ahead(iter("abc"), 2))
    ['a', 'b', 'c']
    """
    source = iter(things)
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        coming = deque(pool.submit(next, source, _END) for _ in range(n))
        while (thing := coming.popleft().result()) is not _END:
            coming.append(pool.submit(next, source, _END))
            yield thing  # type: ignore[misc]  # the end is none of the things
    finally:
        pool.shutdown(cancel_futures=True)


def one_behind(things: Iterable[Thing]) -> Iterator[Thing]:
    """Give each thing only when the next one has been begun, and the last one at the end.

    Examples
    --------
    >>> list(one_behind(iter("abc")))
    ['a', 'b', 'c']
    """
    held: list[Thing] = []
    for thing in things:
        yield from held
        held = [thing]
    yield from held
