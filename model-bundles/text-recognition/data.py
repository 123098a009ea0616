"""Words, numbers and codes in the DejaVu fonts, 48 pixels high, as a camera would see labels.

Size, contrast, slant, blur and noise change from line to line. The fonts and the seeds of the two
splits are others.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

HIGH, WIDE, MARGIN = 48, 160, 6
SAMPLES = {"calibration": 64, "test": 500}
FONTS = {"calibration": ("mono-bold",), "test": ("sans", "sans-bold", "serif", "mono")}
WORDS = [
    "Monday",
    "Friday",
    "August",
    "October",
    "valve",
    "pump",
    "motor",
    "sensor",
    "open",
    "closed",
    "error",
    "ready",
    "stop",
    "start",
    "warning",
    "battery",
    "engine",
    "filter",
    "serial",
    "model",
    "batch",
    "lot",
    "date",
    "weight",
    "volume",
    "pressure",
    "level",
    "speed",
    "power",
    "input",
    "output",
    "north",
    "south",
    "gate",
    "door",
    "room",
    "floor",
    "street",
    "station",
    "platform",
    "ticket",
    "total",
    "price",
]
UNITS = ("kg", "mm", "bar", "V", "A", "kW", "rpm", "%")


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], list[str]]:
    """`x` float32 [64 or 500, 3, 48, 160] from -1 to 1, and the texts."""
    chance = np.random.default_rng(0 if split == "test" else 1)
    names = FONTS[split]
    texts, images = [], []
    while len(texts) < SAMPLES[split]:
        text, font = a_text(chance), names[len(texts) % len(names)]
        image = draw(text, ImageFont.truetype(sources[font], int(chance.integers(22, 33))), chance)
        if image is not None:
            texts.append(text)
            images.append(image)
    return {"x": np.stack(images)}, texts


def a_text(chance: np.random.Generator) -> str:
    """A word, a number with a unit, a date or a code."""
    kind = int(chance.integers(4))
    if kind == 0:
        word = str(chance.choice(WORDS))
        return (word, word.upper(), word.capitalize())[int(chance.integers(3))]
    if kind == 1:
        return f"{chance.uniform(0, 1000):.1f} {chance.choice(UNITS)}"
    if kind == 2:
        return f"{chance.integers(1, 29):02}.{chance.integers(1, 13):02}.{chance.integers(20, 40)}"
    letters = "".join(chr(65 + int(n)) for n in chance.integers(0, 26, 3))
    return f"{letters}-{chance.integers(1000, 10000)}"


def draw(text: str, font: ImageFont.FreeTypeFont, chance: np.random.Generator) -> np.ndarray | None:
    """The text at the left, [3, 48, 160]; nothing if it has no room."""
    left, top, right, bottom = font.getbbox(text)
    if right - left > WIDE - 2 * MARGIN:
        return None
    ink, paper = int(chance.integers(0, 90)), int(chance.integers(150, 256))
    if chance.random() < 0.3:
        ink, paper = paper, ink
    image = Image.new("L", (WIDE, HIGH), paper)
    place = (MARGIN - left, (HIGH - bottom - top) / 2 + chance.uniform(-3, 3))
    ImageDraw.Draw(image).text(place, text, ink, font)
    image = image.rotate(chance.uniform(-2, 2), Image.Resampling.BILINEAR, fillcolor=paper)
    image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0, 1.1)))
    pixels = np.asarray(image) + chance.normal(0, chance.uniform(0, 14), (HIGH, WIDE))
    value = (np.clip(pixels, 0, 255) / 127.5 - 1).astype(np.float32)
    return np.stack([value, value, value])
