"""What a sync has changed is told by the versions that it kept."""

from bson import Decimal128

from pipeline import replicate, sync
from pipeline.cli.demo_changes import KeptVersions, kept_by
from tests.pipeline.lab import Lab


def test_what_became_of_documents_is_told_by_their_versions(lab: Lab) -> None:
    names = ("SupportTickets", "ProductPriceHistory", "UserRecommendations", "SearchQueries")
    lab.fill(**dict.fromkeys(names, 60))
    replicate(lab.connections, names)
    tickets, products = lab.collection("SupportTickets"), lab.collection("ProductPriceHistory")
    done = [one["_id"] for one in tickets.find({"status": {"$in": ["resolved", "closed"]}}).limit(3)]
    tickets.update_many({"_id": {"$in": done[:2]}}, {"$set": {"status": "open"}})
    tickets.delete_one({"_id": done[2]})
    product = products.find_one({"current_price": {"$gt": 1}})
    cheap = Decimal128("0.50")
    again = product["price_changes"][-1] | {"price": cheap}
    products.update_one({"_id": product["_id"]}, {"$set": {"current_price": cheap}, "$push": {"price_changes": again}})
    lab.collection("SearchQueries").delete_one({})
    found = sync(lab.connections, names)
    at = {one.collection: one.cluster_time for one in found if one.changed}
    assert kept_by(lab.connections.postgres, lab.connections.entities, at) == {
        "SupportTickets": KeptVersions(3, {"tickets reopened": 2}),
        "ProductPriceHistory": KeptVersions(1, {"prices dropped": 1}),
    }
