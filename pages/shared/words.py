"""The words of the field that the pages use, each explained in a sentence. Pure."""

from collections.abc import Mapping

from pages.shared.judged import CLASSIFIER, Words

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
    "judge": "How a network's answers are held against the float network's, and what a score is: "
    "classes, tokens of texts, embeddings, maps, signals, or a weighted sum over several outputs. "
    "Every figure, axis and unit is its own.",
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


def explained(*words: str, by: Words = CLASSIFIER) -> str:
    """Help text of a widget that shows some words: each with its explanation, a paragraph each.

    Args:
        words: Of WORDS.
        by: What figures are called there; words that its judge does not use are left out.

    Raises:
        KeyError: a word is not in WORDS.
    """
    meanings = meanings_by(by)
    shown = (word for word in words if word in meanings or word not in WORDS)
    return "\n\n".join(f"**{word.capitalize()}**: {meanings[word]}" for word in shown)


def meanings_by(by: Words) -> Mapping[str, str]:
    """WORDS as a judge uses them: its divergence and unit, its score, samples for images."""
    if by.usual and by.images:
        return WORDS
    meant = {word: by.text(text) for word, text in WORDS.items()}
    if by.usual:
        return meant
    for word in ("nats", *(() if by.lost == "points" else ("points",))):
        if word == "points" or not by.unit.startswith(word):
            del meant[word]
    meant["divergence"] = (
        f"{by.divergence} of the quantized network's answers from the float network's, averaged "
        f"over samples, {by.behind}; 0 is the same."
    )
    if by.judge.hits:
        return meant
    meant["loss against float"] = (
        f"{by.title} lost against the float network on the same samples, sample by sample, in "
        f"{by.lost}: known better than either {by.name} alone, for hard samples are hard for both."
    )
    meant["95 % interval"] = (
        f"Where the true mean {by.name} lies, by how much samples differ and how many there are: "
        "1.96 standard errors to either side; of a loss Student's t."
    )
    if "points" in meant:
        meant["points"] = (
            f"Percent points of {by.name}; elsewhere an allocation with its scores is a point too."
        )
    return meant
