"""Einsum, of any number of operands: its gradient by one of them is an Einsum of the gradient and the others."""

import string
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.support.errors import ModelError


def einsum(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """An axis that only one operand has was summed over: every entry along it has the gradient of the sum."""
    emit, operands = adjoint.emit, [adjoint.given(value) for value in adjoint.node.inputs]
    equation = adjoint.node.attributes["equation"].as_string()
    sizes = [emit.shape(value) for value in operands]
    terms, result = axes_of(equation, [len(shape) for shape in sizes])
    wide = {
        label: size for term, shape in zip(terms, sizes, strict=True) for label, size in zip(term, shape, strict=True)
    }
    for term, shape in zip(terms, sizes, strict=True):
        wide |= {label: max(size, wide[label]) for label, size in zip(term, shape, strict=True)}
    found = {}
    for index in adjoint.wanted:
        own = terms[index]
        if len(set(own)) < len(own):
            raise ModelError(f"{adjoint.called} takes a diagonal ({equation}), which has no rule of differentiation")
        others = [place for place in range(len(terms)) if place != index]
        known = set(result).union(*(terms[place] for place in others))
        # Along an axis of 1 the operand was broadcast: what is left out of an equation is summed.
        stretched = {label for label, size in zip(own, sizes[index], strict=True) if size == 1 != wide[label]}
        left = [label for label in own if label in known and label not in stretched]
        spelled = ",".join("".join(term) for term in (result, *(terms[place] for place in others)))
        gradient = emit(
            "Einsum",
            adjoint.gradient,
            *(operands[place] for place in others),
            equation=f"{spelled}->{''.join(left)}",
        )
        missing = [axis for axis, label in enumerate(own) if label not in left]
        if missing:
            gradient = emit("Unsqueeze", gradient, emit.axes(*missing))
        if set(own) - known:
            gradient = emit("Expand", gradient, emit.shape_of(operands[index]))
        found[index] = gradient
    return found


def axes_of(equation: str, axes: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """Return a letter for each axis of every operand, and of the result; ``axes`` counts those of each operand.

    What ``...`` stands for has letters of its own, aligned at the last.

    >>> axes_of("...ij,jk->...ik", [3, 2])
    ([['A', 'i', 'j'], ['j', 'k']], ['A', 'i', 'k'])
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    spelled = left.split(",")
    hidden = [
        count - len(term.replace("...", "")) if "..." in term else 0 for term, count in zip(spelled, axes, strict=True)
    ]
    free = (letter for letter in string.ascii_letters[::-1] if letter not in equation)
    broadcast = sorted(_take(free, max(hidden)))
    terms = [
        list(_letters(term, broadcast[len(broadcast) - count :])) for term, count in zip(spelled, hidden, strict=True)
    ]
    if not arrow:  # what occurs once, in the order of the alphabet
        once = sorted(letter for letter in set(left) - set(",.") if left.count(letter) == 1)
        right = "..." * any("..." in term for term in spelled) + "".join(once)
    return terms, list(_letters(right, broadcast))


def _letters(term: str, broadcast: Sequence[str]) -> Iterator[str]:
    before, dots, after = term.partition("...")
    yield from before
    yield from broadcast if dots else ()
    yield from after


def _take(letters: Iterator[str], count: int) -> list[str]:
    return [next(letters) for _ in range(count)]
