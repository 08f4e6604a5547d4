"""The place where readers of packed files look that were handed out before version 0.1.0.

Such a reader asks for `qcore.rewriting` by name when its network has attention.
"""

from qcore.network.rewriting import explicit as explicit
