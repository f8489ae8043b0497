"""Weights saved by PyTorch before 1.6 (a pickle with the storages behind it), without torch.

Only what a state dict needs is unpickled; anything else in the file is refused.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from edge.cameras.models.tf_graph import Array, ModelFileError

MAGIC = 0x1950A86A20F9469CFC6C
BROKEN_PICKLE = (  # what the unpickler raises on bytes that are none
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
)
STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _StateDict(pickle.Unpickler):
    """Unpickles tensors as references to their storages."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file)
        self.kinds: dict[str, str] = {}

    def persistent_load(self, pid: Any) -> str:
        _, kind, key, *_ = pid
        self.kinds[key] = kind
        return str(key)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: _Tensor(
                storage, offset, shape, stride
            )
        if module == "torch" and name in STORAGES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a state dict")


def read_state_dict(file: bytes) -> dict[str, Array]:
    """The arrays of a state dict by name.

    Raises:
        ModelFileError: another kind of file.
    """
    stream = BytesIO(file)
    try:
        if _StateDict(stream).load() != MAGIC:
            raise ModelFileError("no PyTorch state dict of the old format")
        for _ in ("protocol", "system"):
            _StateDict(stream).load()
        reader = _StateDict(stream)
        tensors = reader.load()
        keys = _StateDict(stream).load()
        storages = {key: _storage(stream, reader.kinds[key]) for key in keys}
        return {name: _array(t, storages[t.storage]) for name, t in tensors.items()}
    except ModelFileError:
        raise
    except BROKEN_PICKLE as error:
        raise ModelFileError(f"no PyTorch state dict: {error}") from error


def _storage(stream: BytesIO, kind: str) -> Array:
    (count,) = struct.unpack("<q", stream.read(8))
    dtype = np.dtype(STORAGES[kind])
    raw = stream.read(count * dtype.itemsize)
    if len(raw) != count * dtype.itemsize:
        raise ModelFileError("the file ends within a storage")
    return np.frombuffer(raw, dtype)


def _array(tensor: _Tensor, storage: Array) -> Array:
    """A view of a storage, as its strides say (in elements), within its bounds."""
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride, strict=True))
    inside = tensor.offset >= 0 and tensor.offset + reach < len(storage)
    if min(tensor.stride, default=0) < 0 or min(tensor.shape, default=1) < 1 or not inside:
        raise ModelFileError("a tensor reaches beyond its storage")
    steps = [s * storage.itemsize for s in tensor.stride]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, steps).copy()
