"""The place where scripts look that were written for trained switchable networks before 0.1.0."""

from qcore.qat.switchable.runtime import load_switchable as load_switchable
