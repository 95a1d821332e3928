"""Text of strangers, for people to look at: ids, names and values may hold what commands a terminal or bends a line."""

import unicodedata


def visible(text: str) -> str:
    r"""Return a text with everything in it that is seen: the rest as Python writes it, an escape as ``\x1b``.

    So are control characters, line breaks among them, marks of writing direction and other characters of format,
    separators of lines and paragraphs, halves of surrogate pairs, and what no font knows.

    Args:
        text: A line, of which any part may come from documents.
    """
    return text if text.isprintable() else "".join(map(_seen, text))


def visible_json(text: str) -> str:
    """Return JSON with the same values, in which what can't be seen is escaped.

    Args:
        text: JSON, on one line or several.
    """
    return "\n".join(
        line if line.isprintable() else "".join(one if _is_seen(one) else _json_escape(one) for one in line)
        for line in text.split("\n")
    )


def _seen(character: str) -> str:
    return character if _is_seen(character) else character.encode("unicode_escape").decode()


def _is_seen(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # a blank, however wide


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
