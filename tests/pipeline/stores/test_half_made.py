"""A connection that can be opened, and then fails in its first steps."""

import pytest

from pipeline.errors import EtlError
from pipeline.settings import Settings
from pipeline.stores.postgres.connection import Link
from pipeline.stores.postgres.session import Session


@pytest.mark.parametrize(("kind", "step"), [(Link, "_introduce"), (Session, "_set_up")])
def test_a_connection_that_was_half_made_is_closed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: type, step: str
) -> None:
    """Else the driver tells so when garbage is collected, which fails the test."""

    def falls_silent(_: object) -> None:
        raise EtlError("it fell silent")

    assert settings.postgres_uri is not None
    monkeypatch.setattr(kind, step, falls_silent)
    with pytest.raises(EtlError, match="it fell silent"):
        Session(settings.postgres_uri.get_secret_value())
