"""Names and texts of strangers' documents, as files for people may hold them."""


def escaped(text: str) -> str:
    r"""Return a text with what can't be printed as Python writes it, a line break as ``\n``."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
