"""What can become of the weight of a site. A new form is one file here, one line in `FORMS` and one test file."""

from collections.abc import Mapping
from typing import Any

from squeeze_onnx.compress.forms.dense import Dense
from squeeze_onnx.compress.forms.removed import Removed
from squeeze_onnx.compress.forms.shared_left import SharedLeft
from squeeze_onnx.compress.forms.sliced import Sliced
from squeeze_onnx.compress.forms.truncated import Denoised, Factored
from squeeze_onnx.compress.planned_site import Form
from squeeze_onnx.support.errors import OptionError

FORMS: tuple[type[Form], ...] = (Removed, SharedLeft, Sliced, Factored, Denoised, Dense)
"""In the order in which they are asked whether an entry of a plan is theirs; the last one takes what is left."""

TREATMENTS = tuple(dict.fromkeys(form.treatment for form in FORMS))
"""What reports call them; forms that differ in where a factor is stored are called the same."""

FORM_KEYS = tuple(dict.fromkeys(key for form in FORMS for key in form.keys))
"""What entries of plans may say beside what the site is."""


def read_form(entry: Mapping[str, Any], shape: tuple[int, int]) -> Form:
    """Return what the ``entry`` of a plan asks for, for a weight of ``shape`` (in, out).

    Raises OptionError, with what is wrong about which key.
    """
    for kind in FORMS:
        form = kind.read(entry, shape)
        if form is not None:
            _refuse_keys_of_others(entry, form)
            return form
    raise AssertionError("the last form takes every entry")


def _refuse_keys_of_others(entry: Mapping[str, Any], form: Form) -> None:
    for key in FORM_KEYS:
        if key not in form.keys and entry.get(key) is not None:
            raise OptionError(f'"{key}" is {entry[key]!r} beside {" and ".join(form.keys)}: set one of them to null')


def form_of_rank(rank: int | None, break_even: int) -> Form:
    """Return what a rank alone says: ``rank`` None leaves the weight, one above ``break_even`` is written back as one matrix."""
    if rank is None:
        return Dense()
    return Factored(rank) if rank <= break_even else Denoised(rank)


__all__ = [
    "FORMS",
    "FORM_KEYS",
    "TREATMENTS",
    "Denoised",
    "Dense",
    "Factored",
    "Form",
    "Removed",
    "SharedLeft",
    "Sliced",
    "form_of_rank",
    "read_form",
]
