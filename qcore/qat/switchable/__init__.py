"""Networks that change their precision while running: SP-Nets and Bit-Mixer."""
