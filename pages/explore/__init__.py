"""The Explore page: budgets, and every method's bits and front that move with them."""
