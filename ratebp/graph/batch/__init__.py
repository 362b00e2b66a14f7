"""Where the samples are: the batch dimension, followed through every operation.

A method that runs T time steps at once folds them into the batch, ``[T*B, ...]``. That is right as
long as every operation treats the samples alike and the neurons find them in dimension 0.
"""

from ratebp.graph.batch.call import At, Lost, Place
from ratebp.graph.batch.samples import Samples

__all__ = ["At", "Lost", "Place", "Samples"]
