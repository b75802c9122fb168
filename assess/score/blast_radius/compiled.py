"""Lanes in words of 64 bits, compiled by numba: the same as `lanes`, several times as fast.

What falls lies in a matrix, one row by part. A row is touched only between the first and the last
tile of words in which anything falls; lanes that are near share most of what falls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from assess.score.blast_radius.bitset import (
    WEIGHT_BITS,
    Booleans,
    Bytes,
    Floats,
    Integers,
    Parts,
    Weights,
)
from assess.score.blast_radius.impact import Loads
from assess.score.blast_radius.scenarios import Lanes

Words = npt.NDArray[np.uint64]

TILE = 16  # words that are added together: two lines of the cache
WORD = 64


class _Sums(NamedTuple):
    """Sums being added up: by sum, tile and binary digit, up to two rows that are held."""

    units: Integers  # by sum and part
    planes: Words
    held: Integers


@njit(cache=True, nogil=True)
def _add(sums: _Sums, which: int, tile: int, digit: int, row: Words) -> None:
    """Add a row of a binary digit; three of one digit become one of it and one of the next."""
    planes, held = sums.planes[which, tile], sums.held[which, tile]
    while held[digit] == 2:
        for w in range(TILE):
            first, second, third = planes[digit, 0, w], planes[digit, 1, w], row[w]
            either = first ^ second
            planes[digit, 0, w] = either ^ third
            row[w] = (first & second) | (third & either)
        held[digit] = 1
        digit += 1
    planes[digit, held[digit]] = row
    held[digit] += 1


@njit(cache=True, nogil=True)
def _weigh(sums: _Sums, part: int, tile: int, row: Words, copy: Words) -> None:
    """Add a tile of a part to each sum, digit by digit of what it weighs."""
    for which in range(len(sums.units)):
        units, digit = sums.units[which, part], 0
        while units:
            if units & 1:
                copy[:] = row
                _add(sums, which, tile, digit, copy)
            units >>= 1
            digit += 1


@njit(cache=True, nogil=True)
def _sweep(
    ends: Integers, heads: Integers, rows: Words, span: Integers, sums: _Sums
) -> None:
    """Spread failures part by part, and weigh each part once it is final."""
    copy = np.zeros(TILE, np.uint64)
    for part in range(len(ends) - 1):
        first, last = span[part]
        if first >= last:
            continue
        for at in range(ends[part], ends[part + 1]):
            head = heads[at]
            for w in range(first * TILE, last * TILE):
                rows[head, w] |= rows[part, w]
            span[head, 0] = min(span[head, 0], first)
            span[head, 1] = max(span[head, 1], last)
        for tile in range(first, last):
            _weigh(sums, part, tile, rows[part, tile * TILE : (tile + 1) * TILE], copy)


@njit(cache=True, nogil=True)
def _ones(word: Any) -> Any:
    """Count the bits of a word that are one."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    pairs = np.uint64(0x3333333333333333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def _count(rows: Words, span: Integers, masks: Words, found: Integers) -> None:
    """Count by part the lanes that each mask lets through, the next mask twice as much."""
    for part in range(len(span)):
        for digit in range(len(masks)):
            ones = 0
            for w in range(span[part, 0] * TILE, span[part, 1] * TILE):
                ones += _ones(rows[part, w] & masks[digit, w])
            found[part] += ones << digit


@dataclass(frozen=True, eq=False)
class _Matrix:
    """What falls, one row of words by part."""

    rows: Words
    span: Integers
    weight: Floats
    n: Integers

    def felled(self, times: Integers) -> Integers:
        """Count digit by digit of the number of times."""
        digits = range(int(times.max()).bit_length())
        masks = [
            _words((times >> d & 1).astype(bool), self.rows.shape[1]) for d in digits
        ]
        found = np.zeros(len(self.rows), np.int64)
        if masks:
            _count(self.rows, self.span, np.stack(masks), found)
        return found

    def members(self, wanted: Booleans) -> tuple[Integers, Integers]:
        """Unpack the rows that have any."""
        mask = _words(wanted, self.rows.shape[1])
        if not wanted.any():
            return np.empty(0, np.int64), np.empty(0, np.int64)
        some = np.flatnonzero((self.rows & mask).any(axis=1))
        pairs = [np.flatnonzero(_bits(self.rows[part] & mask)) for part in some.tolist()]
        lane = np.concatenate([np.empty(0, np.int64), *pairs])
        return np.repeat(some, [len(each) for each in pairs]), lane

    def packed(self) -> Bytes:
        """Give the rows as they lie."""
        return _bytes(self.rows)[:, : (len(self.n) + 7) // 8]


def fall(parts: Parts, loads: Loads, lanes: Lanes, *, start: int, width: int) -> _Matrix:
    """Fail what fails by itself in a block of lanes, and everything that falls with it.

    Parameters
    ----------
    parts : Parts
        The graph.
    loads : Loads
        What its parts weigh.
    lanes : Lanes
        What fails by itself.
    start, width : int
        First lane, and number of lanes. [count]

    Returns
    -------
    Fallen
        The same as `falls.fall`.
    """
    tiles = -(-width // (TILE * WORD))
    rows = np.zeros((len(parts.heads), tiles * TILE), np.uint64)
    part, lane = lanes.own(parts, start, width)
    np.bitwise_or.at(
        rows, (part, lane // WORD), np.uint64(1) << (lane % WORD).astype(np.uint64)
    )
    span = np.tile(np.array([tiles, 0]), (len(rows), 1))
    np.minimum.at(span[:, 0], part, lane // (TILE * WORD))
    np.maximum.at(span[:, 1], part, lane // (TILE * WORD) + 1)
    both = (loads.weight, loads.size)
    digits = WEIGHT_BITS + len(rows).bit_length() + 2
    planes = np.zeros((len(both), tiles, digits, 2, TILE), np.uint64)
    held = np.zeros(planes.shape[:3], np.int64)
    units = np.stack([each.whole for each in both])
    _sweep(*parts.flat, rows, span, _Sums(units, planes, held))
    weight, n = map(_read, planes, held, both)
    return _Matrix(rows, span, weight[:width], n[:width].astype(np.int64))


def _read(planes: Words, held: Integers, weights: Weights) -> Floats:
    """Give the sums by lane, as `lanes.Scales` does."""
    total = np.zeros(len(planes) * TILE * WORD)
    carry = np.zeros((len(planes), TILE), np.uint64)
    for digit in range(planes.shape[1]):
        first = np.where(held[:, digit, None] > 0, planes[:, digit, 0], np.uint64(0))
        second = np.where(held[:, digit, None] > 1, planes[:, digit, 1], np.uint64(0))
        either = first ^ second
        row = either ^ carry
        carry = (first & second) | (carry & either)
        if row.any():
            total += 2.0**digit * _bits(row.ravel())
    return total * weights.unit


def _bytes(words: Words) -> Bytes:
    """Words as bytes, the lowest first."""
    return words.astype("<u8", copy=False).view(np.uint8)


def _bits(words: Words) -> Bytes:
    """Lanes of some words, one by one."""
    return np.unpackbits(_bytes(words), bitorder="little")


def _words(flags: Booleans, words: int) -> Words:
    """Words of some lanes."""
    packed = np.zeros(words * 8, np.uint8)
    found = np.packbits(flags, bitorder="little")
    packed[: len(found)] = found
    return packed.view("<u8").astype(np.uint64, copy=False)
