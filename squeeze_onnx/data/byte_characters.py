"""The characters that byte-level BPE writes bytes as: one that can be seen for each of the 256 (Radford et al. 2019, GPT-2)."""


def _byte_of_character() -> dict[str, int]:
    """Printable bytes stand for themselves, the others are counted up from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + number): byte for number, byte in enumerate(others)}


_BYTES = _byte_of_character()


def text_of_bytes(token: str) -> str:
    """Return the text whose bytes ``token`` is, without blanks around it; parts of characters are left out."""
    return bytes(_BYTES[character] for character in token if character in _BYTES).decode(errors="ignore").strip()
