"""Which rule follows the samples through which operation."""

from __future__ import annotations

from ratebp.graph.batch import alike, moves, products
from ratebp.graph.batch.call import Rule
from ratebp.graph.names import ELEMENTWISE, RANDOM_FILLS
from ratebp.graph.node import Node


def _named(**rules: tuple[str, Rule]) -> dict[str, Rule]:
    return {name: rule for names, rule in rules.values() for name in names.split()}


_ALIGNED = (
    "add sub rsub neg pos mul div rdiv relu leaky_relu abs maximum minimum fmax fmin addcmul "
    "fill zero copy hypot"
)
_BY_ITSELF = (
    "contiguous clone detach to float double half bfloat16 type type_as cpu cuda identity real "
    "data alpha_dropout dropout rrelu one_hot bernoulli poisson"
)
_WHOLE = (
    "sum mean nansum max min amax amin prod argmax argmin any all logsumexp median nanmedian mode "
    "count_nonzero"
)

_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, alike.aligned),
    **dict.fromkeys((name.removesuffix("_") for name in RANDOM_FILLS), alike.same),
    **_named(
        aligned=(_ALIGNED, alike.aligned),
        same=(_BY_ITSELF, alike.same),
        channels=(
            "dropout1d dropout2d dropout3d feature_dropout feature_alpha_dropout prelu "
            "interpolate upsample group_norm instance_norm local_response_norm channel_shuffle "
            "im2col col2im embedding",
            alike.channels,
        ),
        reduced=(_WHOLE, alike.reduced()),
        deviations=("var std var_mean std_mean", alike.reduced(keep_at=3)),
        norm=("norm", alike.reduced(2, 3)),
        kth=("kthvalue", alike.reduced(2, 3, -1)),
        along=(
            "softmax log_softmax softmin cumsum cumprod cummax cummin logcumsumexp",
            alike.along(),
        ),
        last=("sort argsort glu", alike.along(-1)),
        second=("topk diff", alike.along(-1, 2)),
        features=("normalize", alike.along(1, 2)),
        roll=("roll", alike.along(None, 2)),
        fourth=("gumbel_softmax", alike.along(-1, 4)),
        windows=("unfold", alike.windows),
        flip=("flip", alike.flipped),
        matrices=("tril triu", alike.by_space(2)),
        shuffled=("pixel_shuffle pixel_unshuffle", alike.by_space(3)),
        pad=("pad", alike.padded),
        normalised=("layer_norm rms_norm", alike.normalised),
        batch_norm=("batch_norm", alike.over_samples),
        similar=("cosine_similarity", alike.by_distance(2)),
        distant=("pairwise_distance", alike.by_distance(0)),
        attention=("scaled_dot_product_attention", alike.attention),
        attention_module=("MultiheadAttention", alike.attention_module),
        output=("output", alike.output),
    ),
    **{
        f"{kind}_pool{n}d": alike.by_space(n)
        for kind in ("avg", "max", "adaptive_avg", "adaptive_max", "lp")
        for n in (1, 2, 3)
    },
    **_named(
        transposed=("transpose t T mT", moves.transposed),
        permute=("permute", moves.permuted),
        movedim=("movedim", moves.dim_moved),
        reshaped=("reshape view flatten unflatten view_as reshape_as", moves.reshaped),
        squeeze=("squeeze", moves.squeezed),
        unsqueeze=("unsqueeze", moves.unsqueezed),
        expanded=("expand expand_as broadcast_to repeat tile", moves.expanded),
        interleaved=("repeat_interleave", moves.interleaved),
        joined=("cat stack hstack vstack", moves.joined),
        split=("chunk split tensor_split unbind hsplit vsplit dsplit", moves.split),
        part=("part", moves.part),
        selected=("select narrow index_select", moves.selected),
        gathered=("gather take_along_dim", moves.gathered),
        getitem=("getitem", moves.indexed),
        setitem=("setitem", moves.assigned),
        overwritten=("overwritten", moves.overwritten),
    ),
    **_named(
        multiplied=("matmul bmm mm mv", products.multiplied(0)),
        added=("addmm baddbmm addmv", products.multiplied(1)),
        outer=("outer", products.outer),
        inner=("inner", products.inner),
        tensordot=("tensordot", products.contracted),
        einsum=("einsum", products.by_equation),
        linear=("linear", products.by_matrix),
        bilinear=("bilinear", products.by_two),
        convolution=("convolution", products.by_kernel(None)),
    ),
    **{f"conv{back}{n}d": products.by_kernel(n) for back in ("", "_transpose") for n in (1, 2, 3)},
}

OF_SEVERAL = frozenset(
    {
        alike.aligned,
        alike.output,
        alike.attention,
        alike.attention_module,
        moves.joined,
        moves.gathered,
        moves.indexed,
        moves.assigned,
        moves.overwritten,
        products.outer,
        products.inner,
        products.contracted,
        products.by_equation,
        products.by_matrix,
        products.by_two,
        *(_RULES[name] for name in ("sum", "matmul", "addmm", "cosine_similarity")),
        _RULES["pairwise_distance"],
    }
)
"""The rules that look at all arguments which have samples."""


def rule_of(node: Node) -> Rule:
    """Return the rule of the operation at `node`."""
    if node.role is not None:
        return alike.leaf
    return _RULES.get(node.name.removesuffix("_"), alike.unknown)
