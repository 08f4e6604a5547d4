"""How much each layer suffers from fewer bits: measured, or from gradients and curvature."""
