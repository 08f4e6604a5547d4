"""JSON Schemas (2020-12) of what bitdial writes, for readers in other languages."""

from pathlib import Path

CONFIGURATION = Path(__file__).parent / "bit-configuration.schema.json"
"""Schema of the bit-configuration file; `formats.config.parse_bits` checks more than it says."""
