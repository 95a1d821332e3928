"""Mistakes in a contract's file, told in one sentence for its author."""

import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints

from contracts.schema.field import ContractError

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")
_NOT_IN_MODULE = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
_UNKNOWN = re.compile(r"(\w+)\(\) got an unexpected keyword argument '(\w+)'")
_COMMA = "is a comma missing?"


def word(declare: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Let a word of contracts refuse what it can't take in one sentence, and in its own name.

    Args:
        declare: A function whose options are a TypedDict: ``**options: Unpack[...]``.
    """
    signature, name = inspect.signature(declare), declare.__name__
    hints = get_type_hints(declare)
    options = get_type_hints(get_args(hints["options"])[0]) if "options" in hints else {}
    takes = {key: hints[key] for key in signature.parameters if key in hints and key != "options"}

    @wraps(declare)
    def checked(*given: _Given.args, **named: _Given.kwargs) -> _Made:
        about = f"the field {given[0]!r}: {name}()" if given else f"{name}()"
        if unknown := [key for key in named if key not in {**takes, **options}]:
            raise ContractError(f"{about} has no option {unknown[0]!r}{suggestion(unknown[0], options)}")
        try:
            bound = signature.bind(*given, **named)
        except TypeError as error:
            raise ContractError(f"{about}: {error}; {_COMMA}") from None
        for key, value in _each(bound):
            _check_type(f"{about} takes {{}} as {key}", value, {**takes, **options}[key])
        return declare(*given, **named)

    return checked


def _each(bound: inspect.BoundArguments) -> Iterator[tuple[str, Any]]:
    """Yield each value that a word was given, with the name of its parameter or option."""
    for key, value in bound.arguments.items():
        kind = bound.signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            yield from ((key, one) for one in value)
        else:
            yield key, value


def _check_type(takes: str, value: object, wanted: type) -> None:
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is int):
        raise ContractError(f"{takes.format(getattr(wanted, '__name__', wanted))}, but was given {value!r}")


def check_tuples(owner: str, **given: tuple[Any, type]) -> None:
    """Refuse what is no tuple of its kind of things: a tuple of one wants a comma, too.

    Args:
        owner: Whose they are.
        **given: What was given as each of the tuples, and the type of its items.

    Raises:
        ContractError: One is no tuple, or holds something else.
    """
    for name, (value, kind) in given.items():
        if not isinstance(value, tuple):
            raise ContractError(
                f"{owner}: {name} is no tuple, but {type(value).__name__}; a tuple of one has a comma, as in (one,)"
            )
        if strangers := [one for one in value if not isinstance(one, kind)]:
            found = type(strangers[0]).__name__
            raise ContractError(f"{owner}: {name} holds {found} where {kind.__name__} is wanted; {_COMMA}")


def sentence(error: BaseException, path: Path, words: Mapping[str, Any]) -> str:
    """Return what is wrong in a contract's file, as one sentence with file and line.

    Args:
        error: What came up while the file was loaded.
        path: The file.
        words: What contracts are written in, by name.
    """
    return f"{path}{_line(error, path)}: {' '.join(_says(error, words).split())}"


def _says(error: BaseException, words: Mapping[str, Any]) -> str:
    if isinstance(error, ContractError):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"this is no Python: {error.msg}"
    if isinstance(error, NameError):
        return f"the word {error.name!r} is not known here{suggestion(str(error.name), words)}"
    if isinstance(error, ModuleNotFoundError):
        return f"there is no module {error.name!r}"
    if missing := _NOT_IN_MODULE.match(str(error)):
        return f"{missing[2]} has no {missing[1]!r}{suggestion(missing[1], words)}"
    if isinstance(error, TypeError):
        return _says_of_call(str(error).replace(".__init__()", "()"), words)
    return f"{type(error).__name__}: {error}"


def _says_of_call(said: str, words: Mapping[str, Any]) -> str:
    if unknown := _UNKNOWN.search(said):
        known = inspect.signature(words[unknown[1]]).parameters if unknown[1] in words else ()
        return unknown[0] + suggestion(unknown[2], known)  # Python 3.13 adds a suggestion of its own
    return f"{said}; {_COMMA}" if "not callable" in said or "missing" in said else said


def suggestion(wrong: str, words: Iterable[str]) -> str:
    """Return what may have been meant by a word, or all that there are if they are few."""
    known = list(words)
    if near := get_close_matches(wrong, known, n=1):
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if 0 < len(known) < 7 else ""


def _line(error: BaseException, path: Path) -> str:
    """Return in which line of a file an error came up, if in any of it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    return f", line {lines[-1]}" if lines else ""
