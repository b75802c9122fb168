"""Scores: formulas on arrays and frames. Here are the types of arrays, by what they hold."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Objects = NDArray[np.object_]
Positions = tuple[Integers, Integers]  # pairs, such as of failure and service
Ends = tuple[Floats, Floats]  # lower and upper
Held = TypeVar("Held")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def frozen(holder: type[Held]) -> type[Held]:
    """Make a class that holds arrays or frames: a dataclass that never changes."""
    # it equals only itself, since == of two arrays has no single answer; their text fills pages
    return dataclass(frozen=True, eq=False, repr=False)(holder)
