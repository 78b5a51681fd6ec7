"""Every error this package raises on purpose.

    SqueezeError
    ├── InputError              bad input or usage: exit status 2
    │   ├── ModelError          the .onnx file, its external data, its graph
    │   ├── RepositoryError     modules.json and what it names: pooling, dense modules, prompts
    │   ├── TokenizerError      tokenizer.json missing, or of another vocabulary
    │   ├── DataError           a data set, a row of it, a calibration file
    │   ├── OptionError         an option, a plan or a config value
    │   ├── BundleError         a bundle that is not whole, or not what was packaged
    │   └── OutputError         OUT exists, cannot be written, disk full
    ├── GateError               no model passes the gate: exit status 1
    ├── LastLookError           the finished model does not answer as was predicted: exit status 1
    └── MachineError            this machine lacks something: exit status 2
        ├── MissingPackageError an optional package is not installed
        ├── ProviderError       this onnxruntime lacks the execution provider
        └── WorkerError         the scheduler, or a worker, cannot do its part

A message is one sentence that names the file, node or setting at fault and the way out. Settings stand in backticks, as Python
calls them (`squeeze_onnx.support.setting_names`).
"""


class SqueezeError(Exception):
    """Base of everything this package raises on purpose."""


class InputError(SqueezeError):
    """Bad input or usage."""


class ModelError(InputError):
    """The model file, its external data or its graph cannot be used."""


class RepositoryError(InputError):
    """What lies beside the model says how its output is read, and cannot be followed."""


class TokenizerError(InputError):
    """The tokenizer is missing or does not belong to the model."""


class DataError(InputError):
    """A data set or calibration source cannot be used."""


class OptionError(InputError):
    """An option, plan or configuration value is out of range or contradictory."""


class BundleError(InputError):
    """A bundle is cut off, was tampered with, or is none."""


class OutputError(InputError):
    """The output cannot be written where it was asked for."""


class GateError(SqueezeError):
    """The task metric of every model that was tried drops by more than the gate allows."""


class LastLookError(SqueezeError):
    """What a finished model answers is far outside of what plan and precision predicted."""


class MachineError(SqueezeError):
    """This machine lacks something the command needs."""


class MissingPackageError(MachineError):
    """An optional package is not installed."""


class ProviderError(MachineError):
    """The installed onnxruntime has no such execution provider, or it cannot start."""


class WorkerError(MachineError):
    """The scheduler cannot be reached, or a worker cannot do its part."""
