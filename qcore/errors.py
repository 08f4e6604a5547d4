"""The one exception tree. Every leaf also inherits the builtin a Python reader expects.

    QcoreError
    ├─ UnsupportedModel (TypeError)        no quantizable layer, no such model
    ├─ InvalidAllocation (ValueError)      layer names or bits do not match the model
    │  └─ InvalidBits                      a bit-width outside 1..8 and not 32
    ├─ InvalidConfig (ValueError)          a configuration file that cannot be read or does not fit
    ├─ Damaged (ValueError)                something stored that cannot be read; names it
    ├─ ExportRefused (ValueError)          a file format that cannot carry a configuration
    ├─ InvalidData (ValueError)            images or labels that cannot be used
    ├─ InvalidParams (ValueError)          a search parameter out of its range
    ├─ DataUnavailable (RuntimeError)      a download or a folder that is not there
    ├─ InfeasibleBudget (ValueError)       nothing fits; carries .cheapest
    ├─ NotCalibrated (RuntimeError)        an activation quantizer used before calibration
    ├─ EvaluatorFailed (RuntimeError)      processes or a cluster that should score and cannot
    ├─ Diverged (ArithmeticError)          training reached NaN or infinity
    └─ StoreError (RuntimeError)
       ├─ RunNotFound (KeyError)
       ├─ RunFinished                      a finished run is immutable
       ├─ DatabaseTooNew                   written by a later bitdial
       └─ DatabaseUnavailable              location read-only, full, or not a database
          └─ NoDatabase                    nothing is there, and who only reads makes none

A message says what is wrong, with its value and unit, and what to do about it.
"""

from collections.abc import Mapping


class QcoreError(Exception):
    """Base of everything bitdial raises on purpose; pages show its text kindly."""


class UnsupportedModel(QcoreError, TypeError):
    """The model has no quantizable layer, or is not one bitdial can build."""


class InvalidAllocation(QcoreError, ValueError):
    """Layer names or bits of an allocation do not match the model."""


class InvalidBits(InvalidAllocation):
    """A bit-width is not one of 1..8 or 32."""


class InvalidConfig(QcoreError, ValueError):
    """A bit-configuration file cannot be read, or does not fit the model it is applied to."""


class Damaged(QcoreError, ValueError):
    """Something stored, a row or a file, cannot be read; the message names it and says why."""


class ExportRefused(QcoreError, ValueError):
    """A file format cannot carry a configuration: a width, a layer, or a missing toolchain."""


class InvalidData(QcoreError, ValueError):
    """Images or labels cannot be used: wrong shape, wrong channel count, NaN, none at all."""


class InvalidParams(QcoreError, ValueError):
    """A parameter of a search or a run is out of its range."""


class DataUnavailable(QcoreError, RuntimeError):
    """A data set or a weight file is not on this machine and cannot be fetched."""


class InfeasibleBudget(QcoreError, ValueError):
    """No allocation fits the budget.

    Attributes:
        cheapest: Cost name to the smallest value any allowed allocation has.
    """

    def __init__(self, message: str, cheapest: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.cheapest: dict[str, float] = dict(cheapest or {})


class NotCalibrated(QcoreError, RuntimeError):
    """An activation quantizer was used before its range was measured."""


class EvaluatorFailed(QcoreError, RuntimeError):
    """Processes or a cluster that should score allocations cannot: missing, different or dying."""


class Diverged(QcoreError, ArithmeticError):
    """Training reached NaN or infinity; the message names the layer and the step."""


class StoreError(QcoreError, RuntimeError):
    """Something about the database of results."""


class RunNotFound(StoreError, KeyError):
    """No run has this id."""

    def __str__(self) -> str:
        """Return the plain message (KeyError would print its repr)."""
        return str(self.args[0]) if self.args else ""


class RunFinished(StoreError):
    """The run has ended; finished runs are never changed."""


class DatabaseTooNew(StoreError):
    """The database was written by a later version of bitdial."""


class DatabaseUnavailable(StoreError):
    """The database location cannot be written, is full, or is not a database."""


class NoDatabase(DatabaseUnavailable):
    """No database is there, and whoever only reads makes none."""
