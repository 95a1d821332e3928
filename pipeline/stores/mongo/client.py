"""The driver's client: with bounds on how long it waits, and one error for whatever is wrong with a URI."""

import warnings
from typing import Any
from urllib.parse import parse_qsl

import pymongo
from pymongo.errors import ConfigurationError, PyMongoError

from pipeline.stores.mongo.errors import HEARTBEATS

_PATIENCE = 5


def open_client(uri: str, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
    """Return a client; whatever is wrong with an option or a file that it names is one error."""
    try:
        with warnings.catch_warnings():
            # Of an option that it doesn't know the driver only warns: a mistyped tls would be no TLS.
            warnings.simplefilter("error", UserWarning)
            return pymongo.MongoClient(uri, event_listeners=[HEARTBEATS], **options)
    except PyMongoError:
        raise
    except OSError as error:
        what = (
            f"{error.filename}: {error.strerror}" if error.filename else f"a file of TLS can't be read as one: {error}"
        )
        raise ConfigurationError(what) from error
    except (ValueError, UserWarning) as error:
        raise ConfigurationError(str(error)) from error
    except Exception as error:  # what the driver makes of an option of another type
        raise ConfigurationError(
            f"an option has no value that it can have ({type(error).__name__}: {error})"
        ) from error


def bounds_of(uri: str, silence: float) -> dict[str, Any]:
    """Return the driver's bounds that a URI does not name itself."""
    # Thirty seconds, the driver's default, is long for a person who has mistyped a port.
    bounds = {
        "serverSelectionTimeoutMS": 10_000,
        "connectTimeoutMS": 10_000,
        "socketTimeoutMS": int(_PATIENCE * silence * 1000),
    }
    named = {name.lower() for name, _ in parse_qsl(uri.partition("?")[2])}
    if "timeoutms" in named:  # which stands for all of them
        return {}
    return {name: value for name, value in bounds.items() if name.lower() not in named}
