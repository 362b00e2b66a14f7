"""Rules of products: each dimension has a letter, as in an Einstein sum, and samples have one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratebp.graph.batch.call import ELSEWHERE, At, Call, Rule
from ratebp.graph.node import Node

Letters = tuple[object, ...]
_SUMMED = "sums over the samples"


def by_letters(call: Call, terms: Sequence[tuple[Any, Letters]], result: Letters) -> At | str:
    """Return where the samples are in `result`, if they have one letter in all `terms`.

    Args:
        call: of the operation.
        terms: arguments, and the letters of their dimensions.
        result: letters of the result's dimensions.
    """
    found: set[tuple[object, int]] = set()
    copies = False
    for value, letters in terms:
        place = call.place(value)
        if place is not None:
            if letters.count(letters[place.dim]) > 1:
                return "takes a diagonal of the samples"
            found.add((letters[place.dim], place.inner))
            copies |= place.copies
    if len(found) != 1:
        return ELSEWHERE
    ((letter, inner),) = found
    for value, letters in terms:
        constant = call.place(value) is None and letter in letters and letter in result
        if constant and value.shape[letters.index(letter)] != 1:
            return "takes other constants for each sample, by its number in the batch"
    return At(result.index(letter), inner, copies) if letter in result else _SUMMED


def _rank(value: Any) -> int:
    return len(value.shape or ())


def _front(count: int) -> Letters:
    return tuple(range(-count, 0))


def _matrices(left: Any, right: Any) -> tuple[Letters, Letters, Letters]:
    """Return the letters of two factors and of their matrix product."""
    a, b = _rank(left), _rank(right)
    fronts = [_front(max(0, rank - 2)) for rank in (a, b)]
    rows: Letters = ("row",) if a > 1 else ()
    columns: Letters = ("column",) if b > 1 else ()
    longest = max(fronts, key=len)
    return (
        (*fronts[0], *rows, "sum"),
        (*fronts[1], "sum", *columns),
        (*longest, *rows, *columns),
    )


def multiplied(offset: int) -> Rule:
    """Return the rule of matrix products; `offset` terms that are added come first."""

    def rule(call: Call) -> At | str:
        left, right = (call.option(name, offset + n, None) for n, name in enumerate(_SIDES[offset]))
        if not isinstance(left, Node) or not isinstance(right, Node):
            return ELSEWHERE
        first, second, result = _matrices(left, right)
        terms = [(left, first), (right, second)]
        if offset:
            bias = call.node.args[0]
            terms.append((bias, result[len(result) - _rank(bias) :]))
        return by_letters(call, terms, result)

    return rule


_SIDES = (("input", "other"), ("mat1", "mat2"))


def outer(call: Call) -> At | str:
    """Each entry of one vector times each of another."""
    left, right = call.node.args[:2]
    return by_letters(call, [(left, ("row",)), (right, ("column",))], ("row", "column"))


def inner(call: Call) -> At | str:
    """The last dimensions of both are summed over."""
    left, right = call.node.args[:2]
    rows, columns = (tuple((side, d) for d in range(_rank(side) - 1)) for side in (left, right))
    if left is right:
        return ELSEWHERE
    return by_letters(call, [(left, (*rows, "s")), (right, (*columns, "s"))], (*rows, *columns))


def contracted(call: Call) -> At | str:
    """torch.tensordot: given dimensions are summed over."""
    left, right = call.node.args[:2]
    dims = call.option("dims", 2, 2)
    if isinstance(dims, int):
        dims = ([*range(_rank(left) - dims, _rank(left))], [*range(dims)])
    if isinstance(dims, Node) or len(dims) != 2:
        return ELSEWHERE
    sums = [[d % _rank(s) for d in dim] for s, dim in zip((left, right), dims, strict=True)]
    letters = [[(k, d) for d in range(_rank(side))] for k, side in enumerate((left, right))]
    for a, b in zip(*sums, strict=True):
        letters[1][b] = letters[0][a]
    kept = [each for k in (0, 1) for d, each in enumerate(letters[k]) if d not in sums[k]]
    terms = [(left, tuple(letters[0])), (right, tuple(letters[1]))]
    return by_letters(call, terms, tuple(kept))


def by_equation(call: Call) -> At | str:
    """torch.einsum, with a written or an implied result, and with ellipses."""
    equation, *operands = call.node.args
    if not isinstance(equation, str):
        return "is written as lists, which are not read"
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = [*operands[0]]
    left, arrow, right = equation.replace(" ", "").partition("->")
    dots, terms = 0, []
    for term, each in zip(left.split(","), operands, strict=True):
        more = _rank(each) - len(term.replace("...", ""))
        dots = max(dots, more)
        terms.append((each, _spelled(term, more)))
    if arrow:
        return by_letters(call, terms, _spelled(right, dots))
    free = sorted({c for c in left if c.isalpha() and left.count(c) == 1})
    return by_letters(call, terms, (*_front(dots), *free))


def _spelled(term: str, dots: int) -> Letters:
    before, ellipsis, behind = term.partition("...")
    return (*before, *(_front(dots) if ellipsis else ()), *behind)


def by_matrix(call: Call) -> At | str:
    """F.linear."""
    value, weight, bias = (
        call.option(name, n, None) for n, name in enumerate(("input", "weight", "bias"))
    )
    out: Letters = ("out",) if _rank(weight) > 1 else ()
    front = _front(_rank(value) - 1)
    terms = [(value, (*front, "sum")), (weight, (*out, "sum")), (bias, out)]
    result = (*front, *out)
    return by_letters(call, [term for term in terms if isinstance(term[0], Node)], result)


def by_two(call: Call) -> At | str:
    """F.bilinear and nn.Bilinear: all dimensions of both but the last are alike."""
    left, right = call.node.args[:2]
    front = _front(_rank(left) - 1)
    terms = [(left, (*front, "left")), (right, (*front, "right"))]
    if len(call.placed) > len({left, right}):
        return ELSEWHERE
    return by_letters(call, terms, (*front, "out"))


def by_kernel(dims: int | None) -> Rule:
    """Return the rule of convolutions over `dims` dimensions."""

    def rule(call: Call) -> At | str:
        place, shape = call.first
        if call.place(call.option("input", 0, None)) is None:
            return "takes weights that depend on the samples"
        plain = dims is None or len(shape) == dims + 2
        return place if place.dim == 0 and plain else "needs the samples in its first dimension"

    return rule
