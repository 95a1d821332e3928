"""How the prices of products changed."""

from contracts.schema.entity import Entity
from contracts.schema.fields import category, documents, identifier, money, timestamp

ENTITY = Entity(
    collection="ProductPriceHistory",
    description="One product with every price it has had.",
    key="product_id",
    fields=(
        identifier("product_id", "Business key of the product."),
        documents(
            "price_changes",
            "Every price the product has had, oldest first.",
            timestamp("changed_at", "From when on the price was asked."),
            money("price", "The price, in the product's currency.", minimum=0),
        ),
        money("current_price", "The price asked now, in the product's currency.", minimum=0),
        category("currency", "ISO 4217 code of the currency.", "EUR", "USD", "GBP", "JPY", "PLN", "BRL"),
    ),
    indexes=("product_id",),
    history=True,
)
