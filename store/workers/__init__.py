"""Who works on runs: the server's supervisor, a process per attempt, its beats and slots."""
