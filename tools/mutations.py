"""Small changes to a Python file, one at a time, each of which a test ought to notice; see `tools.mutate`, which runs the tests.

What is changed: comparisons, arithmetic, logic, conditions, numbers, truth values, what a function returns, which of two like
functions is called and with what, and statements that are there for their effect. Left alone: annotations, decorators, imports,
text and assertions, of which ``strict=True`` is one.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)

Step = tuple[str, int | None]
"""A field of a node, and the index in it if it is a list."""

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
ALIKE = {
    one: other
    for pair in (
        ("min", "max"),
        ("any", "all"),
        ("sin", "cos"),
        ("floor", "ceil"),
        ("argmin", "argmax"),
        ("minimum", "maximum"),
        ("zeros_like", "ones_like"),
    )
    for one, other in (pair, pair[::-1])
}
"""Functions, and what is called in their place."""

EITHER_WAY = frozenset({"max", "min", "maximum", "minimum", "append", "isinstance"})
"""Functions whose arguments commute, or whose do not mean anything the other way round."""

CONVERSIONS = frozenset({"float", "asarray", "tuple", "list", "str", "iter", "ascontiguousarray", "super"})
"""Functions that return what they are given, only of another type."""

EMPTY = {
    "bool": "False",
    "int": "0",
    "float": "0.0",
    "str": "''",
    "np.ndarray": "0 * ({})",
    "dict": "{{}}",
    "Mapping": "{{}}",
    "list": "[]",
    "tuple": "()",
}
"""Type that a function returns, without its arguments → what it returns instead; ``{}`` is what it returned."""

_SKIPPED = frozenset({"annotation", "returns", "decorator_list"})
_CONTEXT = 24  # characters: what is shown of a change is the smallest expression around it that is as long


@dataclass(frozen=True)
class Mutant:
    """One change in ``file``: where ``before`` stands, ``after`` is to stand. ``scope`` names the function or class."""

    file: str
    line: int
    scope: str
    before: str
    after: str
    tree: ast.Module


@dataclass(frozen=True)
class _Place:
    """A node, the way to it, and what it is in."""

    node: ast.AST
    path: tuple[Step, ...]
    scope: tuple[str, ...]
    function: ast.FunctionDef | None


def mutants_of(root: Path, file: str) -> Iterator[Mutant]:
    """Yield every change to ``file``, a path from ``root``, in the order of its lines."""
    tree = ast.parse((root / file).read_text(encoding="utf-8"))
    for place in _places(_Place(tree, (), (), None)):
        for changed in _changes(place):
            yield _mutant(file, tree, place, changed)


def _places(place: _Place) -> Iterator[_Place]:
    yield place
    node = place.node
    if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom) or _is_strict(node):
        return
    named = isinstance(node, ast.FunctionDef | ast.ClassDef)
    scope = (*place.scope, node.name) if isinstance(node, ast.FunctionDef | ast.ClassDef) else place.scope
    function = node if isinstance(node, ast.FunctionDef) else None if named else place.function
    for field, value in ast.iter_fields(node):
        if field in _SKIPPED:
            continue
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST):
                yield from _places(_Place(child, (*place.path, (field, index)), scope, function))


def _changes(place: _Place) -> Iterator[ast.AST]:
    """Yield what may stand in place of the node."""
    node, function = place.node, place.function
    is_condition = bool(place.path) and place.path[-1][0] in ("test", "ifs")
    if is_condition and not isinstance(node, ast.Compare) and not _is_not(node):
        yield ast.UnaryOp(ast.Not(), node)  # type: ignore[arg-type]
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                for other in COMPARISONS[type(operator)]:
                    yield _with(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])
        case ast.BinOp() | ast.AugAssign() if type(node.op) in ARITHMETIC:
            yield _with(node, op=ARITHMETIC[type(node.op)]())
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            yield from node.values
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield node.operand
        case ast.Constant():
            yield from (ast.Constant(value) for value in _other_values(node.value))
        case ast.Call():
            yield from _other_calls(node)
        case ast.Return(value=ast.expr() as value) if function is not None and function.returns is not None:
            empty = EMPTY.get(ast.unparse(function.returns).split("[")[0])
            if empty is not None and not isinstance(value, ast.Constant):
                yield _with(node, value=ast.parse(empty.format(ast.unparse(value)), mode="eval").body)
    if isinstance(node, ast.stmt) and _is_for_effect(node, function):
        yield ast.Pass()


def _other_values(value: object) -> Iterator[float]:
    match value:
        case bool():
            yield not value
        case int():
            yield from (value + 1, value - 1)
        case float() if value.is_integer():
            yield from (value + 1, value - 1)
        case float():
            yield from (value * 2, value / 2)


def _other_calls(node: ast.Call) -> Iterator[ast.expr]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ALIKE:
        yield _with(node, func=_with(node.func, **{"id" if isinstance(node.func, ast.Name) else "attr": ALIKE[name]}))
    for index, (one, other) in enumerate(zip(node.args, node.args[1:], strict=False)):
        starred = isinstance(one, ast.Starred) or isinstance(other, ast.Starred)
        if name not in EITHER_WAY and not starred and ast.dump(one) != ast.dump(other):
            yield _with(node, args=[*node.args[:index], other, one, *node.args[index + 2 :]])
    for index, keyword in enumerate(node.keywords):
        if keyword.arg is not None and not _is_strict(keyword):
            yield _with(node, keywords=[*node.keywords[:index], *node.keywords[index + 1 :]])
    passes_on = [argument for argument in node.args if not isinstance(argument, ast.Starred | ast.GeneratorExp)]
    if name.islower() and name not in CONVERSIONS and len(node.args) == len(passes_on) == 1 and not node.keywords:
        yield passes_on[0]


def _is_for_effect(node: ast.stmt, function: ast.FunctionDef | None) -> bool:
    """Say whether what follows could do without ``node``."""
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue():
            return True
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) if function is not None:
            arguments = function.args
            bound = {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
            stored = (child for child in ast.walk(function) if isinstance(child, ast.Name))
            return name in bound or any(
                other.id == name and isinstance(other.ctx, ast.Store) and other.lineno < node.lineno for other in stored
            )
    return False


def _is_strict(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _is_not(node: ast.AST) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _with(node: Node, **fields: object) -> Node:
    changed = copy.copy(node)
    for field, value in fields.items():
        setattr(changed, field, value)
    return changed


def _mutant(file: str, tree: ast.Module, place: _Place, changed: ast.AST) -> Mutant:
    placed = ast.fix_missing_locations(ast.copy_location(copy.copy(changed), place.node))
    new_tree = _put(tree, place.path, placed)
    shown = place.path
    while isinstance(_at(tree, shown[:-1]), ast.expr | ast.keyword) and len(ast.unparse(_at(tree, shown))) < _CONTEXT:
        shown = shown[:-1]
    before, after = ast.unparse(_at(tree, shown)), ast.unparse(_at(new_tree, shown))
    return Mutant(file, getattr(place.node, "lineno", 0), ".".join(place.scope), before, after, new_tree)


def _at(node: ast.AST, path: tuple[Step, ...]) -> ast.AST:
    for field, index in path:
        node = getattr(node, field) if index is None else getattr(node, field)[index]
    return node


def _put(node: Node, path: tuple[Step, ...], new: ast.AST) -> Node:
    """Return ``node`` with ``new`` at ``path``; what does not lie on the path is shared."""
    (field, index), *rest = path
    old = getattr(node, field) if index is None else getattr(node, field)[index]
    child = _put(old, tuple(rest), new) if rest else new
    if index is None:
        return _with(node, **{field: child})
    siblings = getattr(node, field)
    return _with(node, **{field: [*siblings[:index], child, *siblings[index + 1 :]]})
