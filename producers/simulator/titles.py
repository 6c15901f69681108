"""Titles of the items: an adjective, a material and a noun of the category, drawn from a seed."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

_ADJECTIVES: Final = (
    "Black", "White", "Grey", "Navy", "Blue", "Turquoise", "Green", "Olive", "Yellow", "Orange",
    "Red", "Pink", "Purple", "Brown", "Beige", "Classic", "Modern", "Plain", "Striped", "Spotted",
)  # fmt: skip


class _Words(NamedTuple):
    """Words of one category; every material goes with every noun."""

    materials: tuple[str, ...]
    nouns: tuple[str, ...]


# In the order in which the sample shop draws pictures of categories (pictures.js).
_CATEGORIES: Final = (
    _Words(("ceramic", "porcelain", "stoneware", "enamel", "glass"), ("mug", "cup", "tumbler", "beaker")),
    _Words(("leather", "suede", "canvas", "felt", "cork"), ("shoe", "boot", "sandal", "slipper")),
    _Words(("brass", "paper", "glass", "linen", "steel"), ("table lamp", "floor lamp", "wall lamp", "night light")),
    _Words(("oak", "walnut", "beech", "rattan", "velvet"), ("chair", "stool", "armchair", "rocking chair")),
    _Words(("leather", "canvas", "nylon", "felt", "cork"), ("bag", "backpack", "tote", "wallet")),
    _Words(("steel", "titanium", "gold", "leather", "ceramic"), ("watch", "wristwatch", "field watch")),
    _Words(("terracotta", "zinc", "bamboo", "rattan", "stone"), ("planter", "plant stand", "plant pot", "plant box")),
    _Words(("leather", "linen", "cork", "paper", "suede"), ("notebook", "sketchbook", "diary", "journal")),
    _Words(("glass", "steel", "copper", "ceramic", "aluminium"), ("bottle", "flask", "vase", "carafe")),
    _Words(("oak", "brass", "slate", "bamboo", "steel"), ("wall clock", "alarm clock", "mantel clock")),
    _Words(("wool", "cotton", "linen", "felt", "cashmere"), ("cap", "hat", "beanie", "beret")),
    _Words(("mahogany", "maple", "spruce", "cedar", "rosewood"), ("guitar", "ukulele", "mandolin", "banjo")),
    _Words(("rubber", "leather", "foam", "vinyl", "cork"), ("ball", "football", "volleyball", "handball")),
    _Words(("linen", "cotton", "wool", "silk", "denim"), ("shirt", "jacket", "dress", "sweater")),
    _Words(("acetate", "titanium", "steel", "horn", "walnut"), ("glasses", "sunglasses", "spectacles")),
    _Words(("nylon", "silk", "paper", "polyester", "cotton"), ("kite", "box kite", "stunt kite", "pocket kite")),
    _Words(("copper", "steel", "enamel", "porcelain", "iron"), ("teapot", "kettle", "coffee pot", "saucepan")),
    _Words(("aluminium", "leather", "brass", "walnut", "steel"), ("camera", "film camera", "field camera")),
    _Words(("beeswax", "soy", "coconut", "stearin", "paraffin"), ("candle", "pillar candle", "tealight")),
    _Words(("nylon", "cotton", "silk", "polyester", "bamboo"), ("umbrella", "parasol", "golf umbrella")),
)  # fmt: skip


def draw_titles(categories: Sequence[int], seed: int) -> list[str]:
    """Draws a title for each item; the same arguments give the same titles, and no two items have the same.

    Args:
        categories: Category of each item. Categories beyond the twentieth have the words of the first ones again.

    Returns:
        Titles such as ``Blue linen shirt``; where the words of a category are used up, ``Blue linen shirt 2``.
    """
    rng = np.random.default_rng([seed, 3])
    combined = [
        [f"{adjective} {material} {noun}" for adjective in _ADJECTIVES for material in materials for noun in nouns]
        for materials, nouns in _CATEGORIES
    ]
    shuffled = [[titles[place] for place in rng.permutation(len(titles)).tolist()] for titles in combined]
    n_drawn: Counter[int] = Counter()
    drawn = []
    for category in categories:
        titles = shuffled[of := category % len(_CATEGORIES)]
        n_before, place = divmod(n_drawn[of], len(titles))
        n_drawn[of] += 1
        drawn.append(f"{titles[place]} {n_before + 1}" if n_before else titles[place])
    return drawn
