"""What the papers of the five systems claim, and what came of it here."""
