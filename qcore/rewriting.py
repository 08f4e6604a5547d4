"""The place where readers of packed files look that an earlier bitdial handed out.

Such a reader asks for `qcore.rewriting` by name when its network has attention.
"""

from qcore.network.rewriting import expose_layers as explicit

__all__ = ["explicit"]
