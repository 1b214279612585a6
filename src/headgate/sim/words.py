"""Generated text: lorem-like words, each exactly one token."""

from __future__ import annotations

from headgate.sim.draws import Draws

_TEXT = (
    "lorem ipsum dolor sit amet elit sed do magna aliqua enim ad minim veniam quis nisi ut ex ea aute irure in "
    "velit esse cillum eu fugiat nulla sint non sunt culpa qui mollit anim id est labor the river light of "
    "dawn stone gate opens slowly over green fields and old walls hold warm wind from south small boats rest "
    "near quiet shore where people mend nets talk about rain while clouds drift past far hills a bell rings "
    "once then again each voice finds its answer like water seeks level paths cross every hour carry bread salt "
    "mail news some arrive late but all arrive at last no door stays closed for long when many hands push it "
    "still night falls stars appear one by one lamps glow inside homes soft music plays until sleep comes"
)
WORDS = tuple(_TEXT.split())


def generate_words(draws: Draws, amount: int) -> list[str]:
    """Returns ``amount`` tokens of text, the first without its leading space."""
    pieces: list[str] = []
    size, bits = len(WORDS), 0
    for position in range(amount):
        if position % 8 == 0:
            bits = draws.bits()
        pieces.append(" " + WORDS[(bits & 0xFF) % size])
        bits >>= 8
    if pieces:
        pieces[0] = pieces[0][1:].capitalize()
    return pieces
