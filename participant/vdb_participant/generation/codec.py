"""What a scheduler remembers, as JSON and tensors: no pickle, nothing that runs when it is read.

Promises that a value comes back with the same types, bytes, strides and devices, and that one tensor that stood in two
places is one tensor again. Refuses every type it does not know. Leaves files to `checkpoints.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from diffusers.utils import BaseOutput

Json = Any
"""A JSON value; reals stand as hexadecimal strings, integers as decimal ones."""


class CodecError(ValueError):
    """A value of a type that is not kept, or JSON that describes no value."""


@dataclass(slots=True)
class Packer:
    """Turns values into JSON, and the tensors in them into a list.

    Attributes:
        tensors: contiguous, on the CPU, in the order of their numbers.
    """

    tensors: list[torch.Tensor] = field(default_factory=list)
    _numbers: dict[int, int] = field(default_factory=dict)
    _kept: list[torch.Tensor] = field(default_factory=list)  # so that no id is given to a second tensor

    def pack(self, value: object) -> Json:
        """Return a value's JSON.

        Raises:
            CodecError: its type, or that of a value in it, is not known.
        """
        packed: Json
        match value:
            case None | bool() | str():
                packed = value
            case np.generic() | np.ndarray():
                packed = {"array": self._number(_as_tensor(value)), "scalar": isinstance(value, np.generic)}
            case int():
                packed = {"int": str(value)}
            case float():
                packed = {"float": value.hex()}
            case torch.Tensor():
                packed = {"tensor": self._number(value)} | layout_of(value)
            case torch.dtype():
                packed = {"dtype": _name_of(value)}
            case torch.device():
                packed = {"device": str(value)}
            case _:
                packed = self._pack_many(value)
        return packed

    def _pack_many(self, value: object) -> Json:
        kind = type(value)
        if isinstance(value, BaseOutput):
            return {"output": kind.__name__, "items": [[name, self.pack(item)] for name, item in value.items()]}
        if isinstance(value, list | tuple) and kind in (list, tuple):
            return {kind.__name__: [self.pack(item) for item in value]}
        if isinstance(value, dict) and kind is dict:
            return {"dict": [[self.pack(name), self.pack(item)] for name, item in value.items()]}
        raise CodecError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be kept")

    def _number(self, tensor: torch.Tensor) -> int:
        found = self._numbers.get(id(tensor))
        if found is None:
            found = self._numbers[id(tensor)] = len(self.tensors)
            self._kept.append(tensor)
            self.tensors.append(_dense(tensor.detach()).to("cpu", copy=True).contiguous())
        return found


@dataclass(slots=True)
class Unpacker:
    """Turns JSON back into values; each unpacker gives tensors of its own.

    Attributes:
        tensors: as a packer left them.
        outputs: classes of outputs by name.
    """

    tensors: Sequence[torch.Tensor]
    outputs: Mapping[str, type[Any]]
    _made: dict[int, torch.Tensor] = field(default_factory=dict)

    def unpack(self, value: Json) -> Any:
        """Return the value of a packer's JSON.

        Raises:
            CodecError: it describes none.
        """
        if value is None or isinstance(value, bool | str):
            return value
        try:
            return self._unpack(value)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise CodecError(f"{str(value)[:80]} describes no value: {error}") from error

    def _unpack(self, value: Mapping[str, Json]) -> Any:
        found: Any
        match value:
            case {"int": text}:
                found = int(text)
            case {"float": text}:
                found = float.fromhex(text)
            case {"tensor": number}:
                found = self._tensor(number, value)
            case {"array": number, "scalar": scalar}:
                array = self.tensors[number].numpy().copy()
                found = array[()] if scalar else array
            case {"zeros": shape}:
                found = _strided(shape, value).zero_()
            case {"dtype": name}:
                found = _dtype(name)
            case {"device": name}:
                found = torch.device(name)
            case _:
                found = self._unpack_many(value)
        return found

    def _unpack_many(self, value: Mapping[str, Json]) -> Any:
        match value:
            case {"list": items}:
                return [self.unpack(item) for item in items]
            case {"tuple": items}:
                return tuple(self.unpack(item) for item in items)
            case {"dict": items}:
                return {self.unpack(name): self.unpack(item) for name, item in items}
            case {"output": name, "items": items}:
                return self.outputs[name](**{key: self.unpack(item) for key, item in items})
            case _:
                raise KeyError("kind")

    def _tensor(self, number: int, layout: Mapping[str, Json]) -> torch.Tensor:
        if number not in self._made:
            kept = self.tensors[number]
            made = _strided(list(kept.shape), layout).copy_(kept)
            self._made[number] = made.expand(layout["shape"])
        return self._made[number]


def shape_only(value: object) -> Json:
    """Return JSON that unpacks to the same value with zeros in all tensors.

    Raises:
        CodecError: a type that is not known.
    """
    kind = type(value)
    if isinstance(value, torch.Tensor):
        dense = _dense(value)
        return {"zeros": list(dense.shape)} | layout_of(dense)
    if isinstance(value, BaseOutput):
        return {"output": kind.__name__, "items": [[name, shape_only(item)] for name, item in value.items()]}
    if isinstance(value, list | tuple) and kind in (list, tuple):
        return {kind.__name__: [shape_only(item) for item in value]}
    return Packer().pack(value)


def layout_of(tensor: torch.Tensor) -> dict[str, Json]:
    """Return how a tensor lies in memory: kernels sum in another order where it lies otherwise."""
    return {
        "shape": list(tensor.shape),
        "stride": list(tensor.stride()),
        "dtype_of": _name_of(tensor.dtype),
        "on": str(tensor.device),
    }


def output_classes(owners: Iterable[object]) -> dict[str, type[Any]]:
    """Return the output classes that the modules of these objects' classes know, by name."""
    bases = {base for owner in owners for base in type(owner).__mro__ if base.__module__ in sys.modules}
    spaces = [vars(sys.modules[base.__module__]) for base in bases]
    return {
        name: item
        for space in spaces
        for name, item in space.items()
        if isinstance(item, type) and issubclass(item, BaseOutput)
    }


_DTYPES: Final = {str(item).removeprefix("torch."): item for item in vars(torch).values() if type(item) is torch.dtype}


def _dtype(name: str) -> torch.dtype:
    return _DTYPES[name]


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _as_tensor(value: np.generic | np.ndarray[Any, np.dtype[Any]]) -> torch.Tensor:
    try:
        return torch.from_numpy(np.array(value))
    except TypeError as error:
        raise CodecError(f"an array of {value.dtype} cannot be kept") from error


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without the dimensions along which it repeats itself."""
    for dimension, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[dimension] > 1:
            tensor = tensor.narrow(dimension, 0, 1)
    return tensor


def _strided(shape: list[int], layout: Mapping[str, Json]) -> torch.Tensor:
    return torch.empty_strided(shape, layout["stride"], dtype=_dtype(layout["dtype_of"]), device=layout["on"])
