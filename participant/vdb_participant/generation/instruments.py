"""Looking into a pipeline at work: its denoisers, its schedulers, its other parts, while one clip is made.

Promises that a pipeline is as it was before when a block ends, that signatures stay (pipelines read that of
`scheduler.step` to decide whether to pass their generator), and that copies of a scheduler which a pipeline makes are seen too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

Method = Callable[..., Any]

DENOISERS: Final = ("transformer", "unet", "controlnet")
"""How the names of components begin that are called in every step: transformer_2 of Wan 2.2 as well."""


def denoisers_of(pipeline: Any) -> dict[str, torch.nn.Module]:
    """Return the denoisers of a diffusers pipeline by name."""
    return modules_of(pipeline, DENOISERS)


def modules_of(pipeline: Any, beginnings: tuple[str, ...]) -> dict[str, torch.nn.Module]:
    """Return the components of a diffusers pipeline whose names begin so."""
    return {name: part for name, part in parts_of(pipeline).items() if name.startswith(beginnings)}


def parts_of(pipeline: Any) -> dict[str, torch.nn.Module]:
    """Return the components of a diffusers pipeline that are modules, by name; `components` would take a millisecond."""
    named = (name for name, value in pipeline.config.items() if isinstance(value, tuple | list))  # library and class
    parts = {name: getattr(pipeline, name, None) for name in named}
    return {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Method], Method]) -> Iterator[None]:
    """Put another method in the place of one object's for the length of a block.

    Args:
        owner: the object.
        name: of the method.
        make: given the method, returns what stands for it.
    """
    original = getattr(owner, name)
    before = vars(owner).get(name)
    setattr(owner, name, functools.wraps(original)(make(original)))
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


@contextmanager
def overridden(scheduler: Any, **methods: Callable[[Method], Method]) -> Iterator[None]:
    """Give a scheduler, and the copies made of it, other methods for the length of a block.

    A method set on the object would be copied with it and still step the original, so its class is changed.

    Args:
        scheduler: a diffusers scheduler.
        methods: by name: given the class's function, returns what stands for it; both take the scheduler first.
    """
    original = type(scheduler)
    given = {name: make for name, make in methods.items() if hasattr(original, name)}
    scheduler.__class__, hooks = _with_hooks(original, tuple(given))
    outer = dict(hooks)
    hooks.update({name: make(getattr(original, name)) for name, make in given.items()})
    try:
        yield
    finally:
        scheduler.__class__ = original
        hooks.clear()
        hooks.update(outer)


_HOOKED: Final[dict[tuple[type[Any], tuple[str, ...]], tuple[type[Any], dict[str, Method]]]] = {}
"""Subclasses made so far: one for each class, not one for each clip, since the interpreter specialises code for the classes
that it meets."""


def _with_hooks(original: type[Any], names: tuple[str, ...]) -> tuple[type[Any], dict[str, Method]]:
    """Return a subclass whose methods of these names are looked up in the dictionary that is returned with it."""
    found = _HOOKED.get((original, names))
    if found is not None:
        return found
    hooks: dict[str, Method] = {}

    def hooked(name: str) -> Method:
        inherited = getattr(original, name)

        @functools.wraps(inherited)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return hooks.get(name, inherited)(self, *args, **kwargs)

        return method

    changed = {name: hooked(name) for name in names}
    made = type(original.__name__, (original,), {"__module__": original.__module__, **changed})
    return _HOOKED.setdefault((original, names), (made, hooks))


def reason_against(pipeline: Any) -> str:
    """Return why checkpoints of a pipeline cannot be promised, or ""."""
    cached = [name for name, part in denoisers_of(pipeline).items() if getattr(part, "is_cache_enabled", False)]
    if cached:
        return f"a cache carries values of {cached[0]} from step to step"
    if getattr(getattr(pipeline, "guider", None), "momentum_buffer", None) is not None:
        return "its guidance carries values from step to step"
    return ""
