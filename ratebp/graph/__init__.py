"""What a model's forward does, read once when a method is bound.

`read` follows it by `torch.fx`, without shapes; `record` runs one time step on tensors without
values, with shapes. Both give a `Graph` of named operations, each of known kinds.
"""

from ratebp.graph.batch import At, Lost, Samples
from ratebp.graph.counts import Count, counts
from ratebp.graph.graph import Graph, plain_embedding
from ratebp.graph.moving import Move, Moves, moves_before
from ratebp.graph.names import MOVES, MULTIPLIES, OUT_OF_PLACE, RANDOM_FACTORIES, SHAPED, VIEWS
from ratebp.graph.node import Node
from ratebp.graph.operations import Kind, kinds_of
from ratebp.graph.recorded import Recording, record
from ratebp.graph.symbolic import UnreadableError, read
from ratebp.graph.tracing import changes_nothing_else
from ratebp.graph.written import Variables

__all__ = [
    "MOVES",
    "MULTIPLIES",
    "OUT_OF_PLACE",
    "RANDOM_FACTORIES",
    "SHAPED",
    "VIEWS",
    "At",
    "Count",
    "Graph",
    "Kind",
    "Lost",
    "Move",
    "Moves",
    "Node",
    "Recording",
    "Samples",
    "UnreadableError",
    "Variables",
    "changes_nothing_else",
    "counts",
    "kinds_of",
    "moves_before",
    "plain_embedding",
    "read",
    "record",
]
