"""What the pages share: cached reads, tables, figures, widgets and words."""
