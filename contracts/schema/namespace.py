"""What a collection is called that is not in the database which ``ETL_MONGO_DATABASE`` names."""

from contracts.schema.field import ContractError

_NO_DATABASE = frozenset('/\\. "$*<>:|?\0')
_MOST_BYTES = 63


class Namespace(str):
    """The name of a collection with its database, ``database.collection``: so books, messages and commands call it.

    Attributes:
        database: The database.
        name: What the collection is called there.
    """

    database: str
    name: str

    def __new__(cls, database: str, name: str) -> "Namespace":
        """Join both names.

        Raises:
            ContractError: No database can be called so.
        """
        if _NO_DATABASE & set(database) or len(database.encode()) > _MOST_BYTES:
            raise ContractError(f"{name}: no database of MongoDB can be called {database!r}")
        made = super().__new__(cls, f"{database}.{name}")
        made.database, made.name = database, name
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        """Return what it is made of, for copies."""
        return self.database, self.name


def plain_name(collection: str) -> str:
    """Return what a collection is called in its database."""
    return collection.name if isinstance(collection, Namespace) else collection
