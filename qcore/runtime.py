"""The place where scripts look that were written for an earlier bitdial's networks."""

from qcore.qat.switchable.runtime import load_switchable as load_switchable
