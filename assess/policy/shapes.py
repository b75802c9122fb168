"""The shape of a policy: its tables and keys, with an example of each value."""

from collections.abc import Mapping
from typing import Any

from assess.config import packaged

SHAPES = packaged("policy/shapes.toml")

Table = Mapping[str, Any]  # of a policy, and each row of its lists
Values = dict[str, Any]  # of a table that is being made
