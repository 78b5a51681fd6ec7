"""A graph that lies in memory, open: it goes through a file that is gone afterwards, and messages never name that."""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from squeeze_onnx.graph.io.model import name_of, save_model
from squeeze_onnx.runtime.sessions import USUAL, Session, SessionSettings, open_session


def open_graph(model: ir.Model, provider: str = "cpu", settings: SessionSettings = USUAL, *, part: str = "") -> Session:
    """Open ``model`` as it is now on ``provider``; raises what `open_session` raises.

    Messages call it by the file that it was made from (see `name_of`), behind the words ``part`` where it is not all of that.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # where files that are mapped cannot be deleted
        path = Path(folder) / "model.onnx"
        save_model(model, path)
        label = f"{part} of {name_of(model)}" if part else name_of(model)
        return open_session(path, provider, settings, label=label)
