"""Bits learned by gradient: Mixed Precision DNNs (Uhlich et al., ICLR 2020)."""
