"""A declared field as its author wrote it, with what it lacks added."""

import ast
from collections.abc import Iterator, Sequence

from transforms.inference.render import quoted

_WIDTH = 88
_ELIDED = "..."  # the fields within a field, which stay as they are


def amended(source: str, names: Sequence[str], *, nullable: bool = False, words: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the lines that declare a field, amended; nothing where it is not found, since a program wrote it.

    Args:
        source: The contract's module.
        names: The names of the fields around it, and its own.
        nullable: Whether to make it nullable.
        words: What to add to its vocabulary.
    """
    call = _declaration(_entity(ast.parse(source)), names)
    if call is None:
        return ()
    nested = {id(one) for one in call.args if isinstance(one, ast.Call)}
    given = [_ELIDED if id(one) in nested else _as_written(source, one) for one in call.args]
    given = [one for place, one in enumerate(given) if one != _ELIDED or _ELIDED not in given[:place]]
    named = {word.arg: _as_written(source, word.value) for word in call.keywords if word.arg}
    arguments = [*given, *map(quoted, words), *(f"{key}={value}" for key, value in _named(named, nullable=nullable))]
    word = _as_written(source, call.func)
    if len(line := f"{word}({', '.join(arguments)}),") <= _WIDTH:
        return (line,)
    return (f"{word}(", *(f"    {one}," for one in arguments), "),")


def _named(named: dict[str, str], *, nullable: bool) -> Iterator[tuple[str, str]]:
    yield from (named | {"nullable": "True"} if nullable else named).items()


def _entity(tree: ast.Module) -> ast.AST:
    """Return what the contract is made of."""
    for one in ast.walk(tree):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "Entity":
            return ast.Tuple(elts=[*one.args, *(word.value for word in one.keywords)])
    return tree


def _declaration(tree: ast.AST, names: Sequence[str]) -> ast.Call | None:
    """Return the call that declares a field, looked for within that of the field around it."""
    name, *rest = names
    for call in _calls(tree):
        if call.args and isinstance(first := call.args[0], ast.Constant) and first.value == name and len(call.args) > 1:
            return _declaration(ast.Tuple(elts=call.args[1:]), rest) if rest else call
    return None


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield calls, the outer ones first; what is within a field is no field of the same level."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Call):
            yield child
        if not (isinstance(child, ast.Call) and child.args and isinstance(child.args[0], ast.Constant)):
            yield from _calls(child)


def _as_written(source: str, node: ast.AST) -> str:
    return " ".join((ast.get_source_segment(source, node) or ast.unparse(node)).split())
