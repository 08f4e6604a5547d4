"""Networks one can choose: bundled, torchvision's, and the user's own, with how they are loaded."""
