"""Fill MongoDB with made-up documents.

The same **seed**, **scale** and **defects** give the same documents. `scale` 1 is about 100,000 documents over all
collections; `defects` is the share of documents that break their contract on purpose (0.01 is one in a hundred).

Only collections that were generated before are replaced. If there are others of those names the run fails and leaves
them alone, unless `replace` is set: then they are **dropped**.

With **advance**, such as `7d`, nothing is replaced: what was generated goes on for that time, with new documents,
changed and deleted ones, so that `sync`, the history and the marts have something to follow. The other parameters are
not used then.
"""

from typing import Any

from airflow.sdk import Param, dag, task

from pipeline.airflow.defaults import about, defaults
from pipeline.airflow.limits import COPY, reading_mongo


@dag(
    schedule=None,
    **about(__doc__, "source"),
    params={
        "scale": Param(
            1.0,
            type="number",
            minimum=0,
            maximum=10_000,
            description="1 makes about 100,000 documents; 10,000 is the most.",
        ),
        "defects": Param(0.0, type="number", minimum=0, maximum=1, description="Share of documents broken on purpose."),
        "seed": Param(0, type="integer", minimum=0, description="Decides every value."),
        "replace": Param(False, type="boolean", description="Also drop collections that were not generated."),
        "advance": Param(
            None, type=["null", "string"], description="Let what was generated go on for a time, such as 7d."
        ),
    },
    **defaults(),
)
def generate_data() -> None:
    """Fill MongoDB with made-up documents."""

    @task
    def generate(params: dict[str, Any]) -> dict[str, Any]:
        """Write the collections anew, or let them go on; done again after a failure, it gives the same documents."""
        from pipeline.airflow.generate import generate

        return generate(params)

    reading_mongo(generate, COPY)()


generate_data()
