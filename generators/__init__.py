"""Made-up but lawful documents: the seed decides everything.

``World.sized`` fixes who and what exists; ``generate`` then yields the documents of one collection in batches. A
collection has a module here, named as its contract, where its columns depend on each other; any other contract is
served by ``generators.generic``.
"""

from generators.batches import Batch, generate, rows_at
from generators.defects import DEFECTS, Defect
from generators.world import World

__all__ = ["DEFECTS", "Batch", "Defect", "World", "generate", "rows_at"]
