"""A declared field is shown as its author wrote it, with what it lacks added."""

from transforms.inference.amend import amended

SOURCE = """
ENTITY = Entity(
    "Things",
    "Things.",
    fields=(
        text("a", "It's \\"a\\"."),
        documents("lines", "Lines.", category("kind", "Kind.", "x", closed=True), text("a", "Another a.")),
        subdocument("place", "Where.", text("city", "City."), integer("floor", "Floor.", minimum=0)),
    ),
)
"""


def test_a_declared_field_is_amended_as_its_author_wrote_it() -> None:
    assert amended(SOURCE, ["a"], nullable=True) == ('text("a", "It\'s \\"a\\".", nullable=True),',)
    assert amended(SOURCE, ["lines", "a"], nullable=True) == ('text("a", "Another a.", nullable=True),',)
    assert amended(SOURCE, ["lines", "kind"], words=["y"]) == ('category("kind", "Kind.", "x", "y", closed=True),',)
    assert amended(SOURCE, ["place"], nullable=True) == ('subdocument("place", "Where.", ..., nullable=True),',)
    assert amended(SOURCE, ["nowhere"], nullable=True) == ()
