"""Labels of the words of texts, and of the tokens that they are cut into."""
