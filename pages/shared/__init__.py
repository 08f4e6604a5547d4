"""What several pages share: words, frames, columns, session, widgets, budgets and runs."""
