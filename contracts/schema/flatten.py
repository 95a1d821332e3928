"""Derived from fields: the columns of their table, and the tables of the arrays of documents among them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from contracts.schema.field import ContractError, Field
from contracts.schema.kinds import INTEGER, KEY_TEXT, Kind
from contracts.schema.table import ID, KEY, POSITION, Column, Table, dotted


def columns(
    fields: tuple[Field, ...],
    owner: str,
    above: tuple[str, ...] = (),
    prefix: tuple[str, ...] = (),
    *,
    in_item: bool = False,
) -> Iterator[Column]:
    """Yield the columns that fields become: subdocuments flattened, arrays followed by their count.

    Args:
        fields: Of one level.
        owner: The collection.
        above: Names of the fields above.
        prefix: What these are called in the names of columns.
        in_item: Whether they are fields of an item of an array.
    """
    for one in fields:
        if one.omitted:
            continue
        path, labels = (*above, one.name), (*prefix, one.label)
        if not one.label:
            raise ContractError(f"{owner}: the field {dotted(path)} has no name; say alias='...' of it")
        name = column_name(labels, in_item=in_item)
        if one.kind is not None:
            check_kind(one.kind, path, owner)
            yield Column(name, one.kind, one.description, one.nullable, path, field=one)
        elif not one.fields:
            raise ContractError(f"{owner}: the field {dotted(path)!r} has neither a kind nor fields of its own")
        elif not one.repeated:
            yield from columns(_as_nullable(one), owner, path, labels, in_item=in_item)
        if one.repeated or (one.kind is not None and one.kind.is_array):
            text = f"Number of items of {dotted(path)}; null if it is null or missing."
            yield Column(f"{name}_count", INTEGER, text, one.nullable, path, counts=True)


def column_name(labels: tuple[str, ...], *, in_item: bool) -> str:
    """Return what the column of a field is called, by what it and the fields above it are called.

    Args:
        labels: What they are called, from the outermost one on.
        in_item: Whether it is of an item of an array, whose ``_id`` is not that of the row.
    """
    return "item_id" if in_item and labels == (ID,) else "_".join(labels)


def check_kind(kind: Kind, path: tuple[str, ...], owner: str) -> None:
    """Refuse what can't be read.

    Raises:
        ContractError: With the field and its kind.
    """
    if kind.reader in (None, [None]) and not kind.is_json:
        raise ContractError(f"{owner}: the field {dotted(path)!r} is {kind.name}, which can't be read from MongoDB")


def _as_nullable(parent: Field) -> tuple[Field, ...]:
    """Return the fields of a subdocument, nullable if the subdocument itself may be missing."""
    if not parent.nullable:
        return parent.fields
    return tuple(replace(one, nullable=True) for one in parent.fields)


def child_tables(parent: Table, fields: tuple[Field, ...], owner: str) -> Iterator[Table]:
    """Yield the tables of the arrays of documents that a table's documents or items have, parents first.

    Args:
        parent: The table.
        fields: Of its documents or items.
        owner: The collection.
    """
    for array in _repeated(fields, (), ()):
        own = Column(POSITION, INTEGER, "Place of the item in its array, from 0.")
        values: Iterable[Column] = columns(array.field.fields, owner, in_item=True)
        if array.field.keyed:
            own = Column(KEY, KEY_TEXT, "Name of the entry in its map.")
        if array.field.bare:
            values = (replace(one, path=()) for one in values)
        key = (*_outer_key(parent), own)
        child = Table(
            name="_".join((parent.name, *array.labels)),
            description=array.field.description,
            columns=(*key, *values),
            key=tuple(column.name for column in key),
            parent=parent.name,
            path=array.path,
            outer=parent.levels,
            array=array.field,
        )
        yield child
        yield from child_tables(child, array.field.fields, owner)


def _outer_key(parent: Table) -> tuple[Column, ...]:
    """Return the columns by which an item refers to its parent's row, whose own place is called by its array."""
    *above, own = (parent.column(name) for name in parent.key)
    if not parent.levels:
        return (own,)
    names = (f"_{parent.name.removeprefix(f'{table}_')}{own.name}" for table in (parent.parent, parent.root))
    name = next(one for one in names if one not in parent.key)
    return (*above, replace(own, name=name, description=f"Place of the item of {parent.name} that it is in, from 0."))


@dataclass(frozen=True)
class _Repeated:
    """An array of documents: where it stands, and what its table is called by."""

    path: tuple[str, ...]
    labels: tuple[str, ...]
    field: Field


def _repeated(fields: tuple[Field, ...], above: tuple[str, ...], prefix: tuple[str, ...]) -> Iterator[_Repeated]:
    for one in fields:
        path, labels = (*above, one.name), (*prefix, one.label)
        if one.repeated:
            yield _Repeated(path, labels, one)
        elif one.fields:
            yield from _repeated(one.fields, path, labels)
