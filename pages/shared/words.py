"""The words of the field that the pages use, each explained in a sentence. Pure."""

WORDS = {
    "bit allocation": "The weight and activation bits of every layer; float means left as it was.",
    "activations": "What flows into a layer: rounded to its bits while the network runs.",
    "measured": "Evaluated on images with the quantized network; solid marks. Choices use the "
    "search split only; the test split is read once per reported point.",
    "predicted": "From a sensitivity table: damage measured one layer at a time and added up; "
    "hollow marks. Layers interact, so it ranks allocations and says little about accuracy itself.",
    "damage": "How far the quantized network's answers are from the float network's, averaged over "
    "images; 0 is the same.",
    "divergence": "Kullback-Leibler divergence of the quantized network's answers from the float "
    "network's, averaged over images, in nats; 0 is the same.",
    "nats": "Unit of divergence and of loss: the natural logarithm of how much less likely an "
    "answer has become; 0.01 is hardly felt, 1 is another network.",
    "front": "The points that nothing as cheap equals; drawn as steps, for nothing lies between.",
    "hypervolume": "Share of the plane of cost and divergence (logarithmic) that a run's front "
    "dominates: one number for how much a search has found, at equal evaluations on equal "
    "images.",
    "search split": "Images drawn from the training images. Searches look at them, so what is best "
    "on them is a little too good.",
    "test split": "Images that chose nothing: they are read once per reported point.",
    "95 % interval": "Where the true accuracy lies, judged by the number of images (Wilson): 1,000 "
    "images leave about 2 points, 10,000 about half a point.",
    "loss against float": "Accuracy lost against the float network on the same images, in points. "
    "Only images on which one is right and the other wrong count, so it is known better than "
    "either accuracy.",
    "lose at most": "Each method's smallest allocation that is shown, on test images, to lose no "
    "more, with 95 % confidence for all methods that are shown together.",
    "points": "Percent points of accuracy; elsewhere an allocation with its scores is a point too.",
    "uniform bits": "The same bits in every layer: what every method has to beat.",
    "tuned": "Scales, biases and norms fitted to the float network's outputs, without labels, "
    "after the bits are chosen.",
    "sensitivity": "What one layer's bits cost in damage when all other layers stay in float.",
    "seed": "Start of the random numbers: runs that differ in it alone show what is chance.",
    "one-shot": "Family of searches that decide from what was measured once, layer by layer.",
    "trained": "Family of searches that change the weights together with the bits.",
    "recorded": "Measured earlier with the shipped code, not on this machine; labelled as such.",
}
"""Word to its explanation, plain text."""


def explained(*words: str) -> str:
    """Help text of a widget that shows some words: each with its explanation, a paragraph each.

    Raises:
        KeyError: a word is not in WORDS.
    """
    return "\n\n".join(f"**{word.capitalize()}**: {WORDS[word]}" for word in words)
