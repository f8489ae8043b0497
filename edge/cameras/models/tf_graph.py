"""A TensorFlow graph as data: nodes and constants, whichever file they came from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NODES_MAX = 20_000  # thirty times the largest graph in use
NUMPY_OF = {
    "float": "<f4",
    "int": "<i4",
    "long": "<i8",
    "byte": "u1",
    "bool": "?",
}  # names as in ``DT_...``, see ``TYPE_NAMES``
TYPE_NAMES = {1: "float", 3: "int", 4: "byte", 9: "long", 10: "bool"}  # DataType of types.proto


class ModelFileError(ValueError):
    """A file that is not the model it should be; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class TfNode:
    """``inputs``: names as written, without control inputs. ``attributes``: plain values; a data
    type is one of the names of ``NUMPY_OF``."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TfGraph:
    nodes: dict[str, TfNode]
    constants: dict[str, Array]


def base(name: str) -> str:
    """The node of a tensor's name: ``node:1`` is its second output."""
    return name.partition(":")[0]


def tensor(name: str) -> str:
    """A tensor's name in one spelling: the first output has no number."""
    return name.removesuffix(":0")


def elements(shape: list[int]) -> int:
    """How many numbers a shape holds. Raises ModelFileError for a shape that cannot be."""
    if any(n < 0 for n in shape):
        raise ModelFileError(f"a constant has the shape {shape}")
    return math.prod(shape)


def as_used(array: Array) -> Array:
    """Integers as int64, floats as float32: what the converted graph works with."""
    kinds = {"f": np.float32, "i": np.int64, "u": np.float32, "b": np.bool_}
    return array.astype(kinds[array.dtype.kind])
