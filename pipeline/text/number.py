"""Numbers of things, as people write them."""


def counted(number: int, thing: str) -> str:
    """Return how many there are, such as ``1 document`` or ``2,000 documents``.

    Args:
        number: How many.
        thing: What one of them is called; its plural ends with an s.
    """
    return f"{number:,} {thing}{'s' * (number != 1)}"
