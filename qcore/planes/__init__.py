"""A network that switches as bit planes: a file that may be cut off behind any width.

Codes of fewer bits are the leading bits of those of more (`qcore.quantizers.nested`), so that one
set of codes serves every switch. The file is a safetensors file: a header, then scales, norms and
biases of all switches, then the codes bit by bit, the leading bits of all layers first. Whoever
keeps only its beginning keeps the narrower switches whole:

    planes = parse_planes(Path("resnet8.planes.safetensors").read_bytes()[:n])
    planes.switches                                   # ("4/4", "3/3", "2/2")
    network = apply_bits(load_model("resnet8"), planes.config(planes.plan.switch("2/2")))

LAYER.plane.0 holds the sign bits of a layer's codes in two's complement, LAYER.plane.1 the bits
behind them, and so on, eight to a byte, lowest first, in the order of its weight. A weight is (2
code + 1) times the step of its width and the gain of its channel. A float teacher's weights lie
behind all planes. What the network leaves in float is the float network's, as in a configuration.
"""
