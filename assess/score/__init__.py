"""Scores: formulas on arrays and frames. Here are the types of arrays, by what they hold."""

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
