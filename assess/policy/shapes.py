"""The shape of a policy: its tables and keys, with an example of each value."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

SHAPES: dict[str, Any] = tomllib.loads(
    files("assess.policy").joinpath("shapes.toml").read_text("utf-8")
)

Table = Mapping[str, Any]  # of a policy, and each row of its lists
Values = dict[str, Any]  # of a table that is being made
