"""Open tables of records: a name leads to one record, and both a clash and a miss are clear errors."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Protocol, TypeVar, runtime_checkable


@runtime_checkable
class Named(Protocol):
    """A record that carries its own name."""

    @property
    def name(self) -> str:
        """The key under which a table holds the record."""
        ...


R = TypeVar("R", bound=Named)
F = TypeVar("F", bound=Callable[..., object])


class Table(Mapping[str, R]):
    """A mapping from name to record that anyone may extend.

    >>> from collections import namedtuple
    >>> Colour = namedtuple("Colour", "name")
    >>> colours = Table("colour", [Colour("red")])
    >>> colours["blue"]
    Traceback (most recent call last):
    ...
    KeyError: "unknown colour 'blue'; known: red"
    """

    def __init__(self, kind: str, records: list[R] | None = None) -> None:
        self._kind = kind
        self._records: dict[str, Callable[[], R]] = {}
        for record in records or []:
            self.add(record)

    def add(self, record: R, *, overwrite: bool = False) -> R:
        """Enter a record under its name and return it.

        Raises ValueError if the name is no string or empty, and if it is taken, unless `overwrite` is set (a notebook
        cell that runs twice).
        """
        if not isinstance(record.name, str) or not record.name:
            raise ValueError(f"name is {record.name!r}; a {self._kind} needs a string that is not empty")
        if record.name in self._records and not overwrite:
            raise ValueError(
                f"{self._kind} {record.name!r} exists already; rename it, or pass overwrite=True to replace it"
            )
        self._records[record.name] = lambda: record
        return record

    def enter(
        self,
        function: F | None,
        make: Callable[[F, str], R],
        check: Callable[[R], object],
        *,
        name: str = "",
        overwrite: bool = False,
    ) -> R | Callable[[F], R]:
        """Make a record of a function, check it, enter it, and return it; of None, return the decorator that does so.

        This is what decorators such as `@utility` do, which are written bare or with keywords. `make(function, name)`
        returns the record, under the function's own name unless another is given; `check(record)` raises for one that
        is no good, which is then not entered.

        Raises ValueError for a function without a name if none is given, and as `check` and `add` do.
        """

        def decorate(function: F) -> R:
            own = name or getattr(function, "__name__", "")
            if not own:
                raise ValueError(f"{function!r} has no name of its own: pass the {self._kind}'s as name=...")
            record = make(function, own)
            check(record)
            return self.add(record, overwrite=overwrite)

        return decorate if function is None else decorate(function)

    def promise(self, name: str, make: Callable[[], R]) -> None:
        """Enter a record that is made when it is first looked up.

        For records that hold arrays: made on import, they would start JAX before a script can say on which devices.
        """
        self._records[name] = cache(make)

    def __getitem__(self, name: str) -> R:
        try:
            make = self._records[name]
        except KeyError:
            raise KeyError(f"unknown {self._kind} {name!r}; known: {', '.join(sorted(self._records))}") from None
        return make()

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"<{len(self)} {self._kind} records: {', '.join(self._records)}>"
