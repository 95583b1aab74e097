"""Ways in which a file is damaged on a disk or on its way."""


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged: it has|is empty"),
    "bit flipped": (flip_bit, "is damaged or of another run or step"),
    "emptied": (lambda path: path.write_bytes(b""), "is empty"),
    "missing": (lambda path: path.unlink(), "is missing"),
}
