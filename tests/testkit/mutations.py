"""Small wrong changes of a module, one at a time, as a tired programmer or a clever adversary would make them.

Promises the same mutants in the same order for the same source, and that each differs from it in one place. Prose is left
alone: docstrings, and texts with a space in them, which are messages to people. Leaves running tests to `mutation_testing.py`.

Source: DeMillo, Lipton, Sayward 1978, "Hints on test data selection"; operators after Offutt et al. 1996.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

Change = Callable[[], ast.AST | None]
"""Gives the node that takes a place; None takes a statement out."""

_COMPARED: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}

_COMPUTED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}

_UNORDERED: Final = {"max", "min"}
"""Functions of which the order of arguments changes nothing."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong change.

    Attributes:
        number: among all of the module.
        line: of the source, from 1.
        what: the change, in words.
        function: qualified name of the outermost function around it, or "" if it is made when the module is imported.
    """

    number: int
    line: int
    what: str
    function: str


def mutants_of(source: str) -> list[Mutant]:
    """Return all mutants of a module."""
    return [
        Mutant(number, place.line, what, place.function)
        for number, (place, what, _) in enumerate(_changes(ast.parse(source)))
    ]


def mutated(source: str, number: int) -> ast.Module:
    """Return the module with one mutant's change."""
    tree = ast.parse(source)
    for found, (place, _, change) in enumerate(_changes(tree)):
        if found == number:
            place.put(change())
            return ast.fix_missing_locations(tree)
    raise ValueError(f"there is no mutant {number}")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node stands: in a field of its parent, at an index if the field is a list."""

    parent: ast.AST
    field: str
    index: int | None
    function: str
    line: int

    def put(self, node: ast.AST | None) -> None:
        """Put another node there."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            nodes = getattr(self.parent, self.field)
            nodes[self.index] = ast.copy_location(ast.Pass(), nodes[self.index]) if node is None else node


def _changes(parent: ast.AST, path: str = "", *, inside: bool = False) -> Iterator[tuple[_Place, str, Change]]:
    """Yield every change below a node with its place and its words.

    Args:
        parent: the node.
        path: qualified name of what is around it, down to the outermost function.
        inside: whether that is a function.
    """
    for field, value in ast.iter_fields(parent):
        if _is_left_alone(parent, field):
            continue
        for index, node in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(node, ast.AST) or _is_docstring(node):
                continue
            line = getattr(node, "lineno", getattr(parent, "lineno", 0))
            place = _Place(parent, field, index if isinstance(value, list) else None, path if inside else "", line)
            for what, change in _variants(node, parent):
                yield place, what, change
            deeper = path
            if not inside and isinstance(node, ast.FunctionDef | ast.ClassDef):
                deeper = f"{path}.{node.name}".strip(".")
            yield from _changes(node, deeper, inside=inside or isinstance(node, ast.FunctionDef))


def _is_left_alone(parent: ast.AST, field: str) -> bool:
    """Return whether a field is never evaluated, or only names something."""
    if isinstance(parent, ast.FunctionDef):
        return field not in {"body"}
    if isinstance(parent, ast.arg):
        return True
    return isinstance(parent, ast.ClassDef) and field != "body"


def _is_docstring(node: ast.AST) -> bool:
    """Return whether a node is a text that stands alone as a statement."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _variants(node: ast.AST, parent: ast.AST) -> Iterator[tuple[str, Change]]:
    if isinstance(node, ast.stmt | ast.ExceptHandler | ast.comprehension):
        yield from _of_statement(node)
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition negated", lambda: _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    yield from _of_expression(node)
    yield from _of_collection(node, parent)


def _of_statement(node: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.comprehension() if node.ifs:
            yield "condition left out", lambda: _with(node, ifs=[])
        case ast.Raise() | ast.AugAssign() | ast.Continue() | ast.Break():
            yield f"{_name(node)} left out", lambda: None
        case ast.Expr(value=ast.Call() | ast.Attribute() | ast.YieldFrom() | ast.Yield()):
            yield "statement left out", lambda: None
        case ast.ExceptHandler():
            yield from _handlers(node)
        case _:
            pass


def _of_expression(node: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BoolOp():
            yield from _connectives(node)
        case ast.UnaryOp(op=ast.Not()):
            yield "not left out", lambda: node.operand
        case ast.BinOp() if type(node.op) in _COMPUTED:
            other = _COMPUTED[type(node.op)]
            yield f"{_name(node.op)} becomes {other.__name__}", lambda: _with(node, op=other())
        case ast.Call():
            yield from _arguments(node)
        case _:
            pass


def _of_collection(node: ast.AST, parent: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.Constant():
            yield from _constants(node, parent)
        case ast.Tuple() | ast.List() | ast.Set() if not isinstance(getattr(node, "ctx", None), ast.Store):
            yield from _elements(node, parent)
        case ast.Dict():
            yield from _entries(node)
        case _:
            pass


def _comparisons(node: ast.Compare) -> Iterator[tuple[str, Change]]:
    for place, operator in enumerate(node.ops):
        for other in _COMPARED[type(operator)]:
            ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
            yield f"{_name(operator)} becomes {other.__name__}", lambda ops=ops: _with(node, ops=ops)  # type: ignore[misc]  # mypy sees no type for a default


def _connectives(node: ast.BoolOp) -> Iterator[tuple[str, Change]]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield f"{_name(node.op)} becomes {_name(other)}", lambda: _with(node, op=other)
    for place, value in enumerate(node.values):
        left = [*node.values[:place], *node.values[place + 1 :]]
        what = f"{ast.unparse(value)} left out"
        yield what, lambda left=left: _with(node, values=left) if len(left) > 1 else left[0]  # type: ignore[misc]  # as above


def _constants(node: ast.Constant, parent: ast.AST) -> Iterator[tuple[str, Change]]:
    found: object = node.value
    others: list[object] = []
    if isinstance(found, bool):
        others = [not found]
    elif isinstance(found, int):
        others = [found + 1]
    elif isinstance(found, float):
        others = [found * 2 + 1]
    elif isinstance(found, str) and found and not _is_prose(found):
        others = [found + "x"]
    elif isinstance(found, bytes) and found:
        others = [found + b"x"]
    if isinstance(parent, ast.JoinedStr) and any(
        isinstance(part, ast.Constant) and _is_prose(part.value) for part in parent.values
    ):
        return
    for other in others:
        yield f"{found!r} becomes {other!r}", lambda other=other: _with(node, value=other)  # type: ignore[misc]  # as above


def _is_prose(text: object) -> bool:
    """Return whether a text is for people: names, keys and patterns have no spaces."""
    return isinstance(text, str) and (" " in text or not text.strip())


def _handlers(node: ast.ExceptHandler) -> Iterator[tuple[str, Change]]:
    if isinstance(node.type, ast.Tuple):
        for place, item in enumerate(node.type.elts):
            left = [*node.type.elts[:place], *node.type.elts[place + 1 :]]
            what = f"{ast.unparse(item)} no longer caught"
            yield what, lambda left=left: _with(node, type=ast.Tuple(left, ast.Load()))  # type: ignore[misc]  # as above
    elif node.type is not None:
        yield f"{ast.unparse(node.type)} no longer caught", lambda: _with(node, type=ast.Tuple([], ast.Load()))


def _elements(node: ast.Tuple | ast.List | ast.Set, parent: ast.AST) -> Iterator[tuple[str, Change]]:
    if isinstance(parent, ast.Subscript | ast.ExceptHandler | ast.FormattedValue):
        return
    for place, item in enumerate(node.elts if len(node.elts) > 1 else ()):
        left = [*node.elts[:place], *node.elts[place + 1 :]]
        yield f"{_short(item)} left out", lambda left=left: _with(node, elts=left)  # type: ignore[misc]  # as above


def _entries(node: ast.Dict) -> Iterator[tuple[str, Change]]:
    for place, key in enumerate(node.keys if len(node.keys) > 1 else ()):
        keys, values = [*node.keys], [*node.values]
        del keys[place], values[place]
        what = f"entry {_short(key) if key else '**'} left out"
        yield what, lambda keys=keys, values=values: _with(node, keys=keys, values=values)  # type: ignore[misc]  # as above


def _arguments(node: ast.Call) -> Iterator[tuple[str, Change]]:
    ordered = not (isinstance(node.func, ast.Name) and node.func.id in _UNORDERED)
    plain = ordered and not any(isinstance(item, ast.Starred) for item in node.args)
    if plain and len(node.args) > 1 and ast.dump(node.args[0]) != ast.dump(node.args[1]):
        args = [node.args[1], node.args[0], *node.args[2:]]
        yield "first two arguments swapped", lambda: _with(node, args=args)
    for place, item in enumerate(node.keywords):
        left = [*node.keywords[:place], *node.keywords[place + 1 :]]
        what = f"argument {item.arg or '**'} left out"
        yield what, lambda left=left: _with(node, keywords=left)  # type: ignore[misc]  # as above


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """Return a copy of a node with other fields."""
    changed = copy.copy(node)
    for field, value in fields.items():
        setattr(changed, field, value)
    return changed


def _name(node: ast.AST) -> str:
    return type(node).__name__


def _short(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else text[:57] + "..."
