"""One array over many shards, read where it is indexed and no further."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap
from typing import Any

import numpy as np
from upath import UPath

from densityguide.app.jobs import arrays
from densityguide.disk import storage

__all__ = ["Column", "damaged"]

Part = tuple[np.ndarray, np.ndarray]  # places among the rows that are asked for, and those rows
READERS = 16  # files of an object store that are fetched at a time
BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def damaged(path: UPath, error: BaseException | str) -> ValueError:
    """What a file that cannot be read says."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(
        f"{path} is missing or damaged ({reason:.200}): give the densityguide run of this folder "
        "again, which makes the shard anew"
    )


@dataclass(frozen=True)
class Column:
    """The rows of ``files`` one after another, ``rows`` of them in each. Like an array it has
    ``shape`` and ``dtype`` and is indexed; the first index takes rows and opens the files that hold
    them, further ones go to every row. ``np.asarray`` reads all of it.

    Indexing raises ValueError for a file that is missing or damaged, IndexError outside the shape.
    """

    name: str
    files: Sequence[UPath]
    rows: Sequence[int]
    like: arrays.Layout  # of one file

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its entries."""
        return self.like.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (int(self._ends[-1]), *self.like.shape[1:])

    @cached_property
    def _ends(self) -> np.ndarray:
        """The row after the last of each file."""
        return np.cumsum(self.rows)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError(f"{self.name} lies in files: reading it makes a copy")
        return np.asarray(self[:], dtype)

    def __getitem__(self, index: Any) -> Any:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if first is Ellipsis:
            first, rest = slice(None), [Ellipsis, *rest] if rest else []
        wanted = np.arange(len(self))[first]
        found = self._read(wanted.reshape(-1), tuple(rest))
        return found.reshape(wanted.shape + found.shape[1:])[()]

    def parts(self) -> Iterator[np.ndarray]:
        """The rows of one file after another."""
        return (self._file(number) for number in range(len(self.files)))

    def _read(self, wanted: np.ndarray, rest: tuple[Any, ...]) -> np.ndarray:
        """These rows, in this order, with ``rest`` taken of each."""
        where = np.searchsorted(self._ends, wanted, side="right")
        order = np.argsort(where, kind="stable")
        numbers, starts = np.unique(where[order], return_index=True)
        begins = self._ends - self.rows

        def one(number: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            part = self._file(number)[wanted[places] - begins[number]]
            return places, part[(slice(None), *rest)]

        found: np.ndarray | None = None
        wished = [*zip(numbers.tolist(), np.split(order, starts[1:]), strict=False)]
        for places, part in self._each(one, wished):
            if found is None:
                found = np.empty((len(wanted), *part.shape[1:]), self.dtype)
            found[places] = part
        if found is None:
            return np.empty((0, *self.like.shape[1:]), self.dtype)[(slice(None), *rest)]
        return found

    def _each(
        self, one: Callable[..., Part], wished: list[tuple[int, np.ndarray]]
    ) -> Iterator[Part]:
        if len(wished) < 2 or storage.is_local(self.files[0]):
            yield from starmap(one, wished)
            return
        with ThreadPoolExecutor(READERS) as pool:  # a store's time is spent waiting for it
            yield from pool.map(lambda given: one(*given), wished)

    def _file(self, number: int) -> np.ndarray:
        path = self.files[number]
        try:
            found = arrays.read(path, [self.name])[self.name]
        except BROKEN as error:
            raise damaged(path, error) from None
        expected = (self.rows[number], *self.like.shape[1:])
        if found.shape != expected or found.dtype != self.dtype:
            told = f"{self.name} is {found.dtype} {found.shape}, not {self.dtype} {expected}"
            raise damaged(path, told)
        return found
