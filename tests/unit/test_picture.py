"""QR codes as pictures: what a phone has to find in them."""

import base64
import struct
import zlib

import segno

from sekring.sessions.picture import data_url

#: As long as those of WhatsApp.
CODE = "2@" + "Ab1/+" * 45 + "=,Key=,Key=,Key="


def pixels(url: str) -> list[list[bool]]:
    """Read the data URL of a one-bit greyscale PNG; true is dark."""
    kind, _, packed = url.partition(",")
    assert kind == "data:image/png;base64"
    png = base64.b64decode(packed, validate=True)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    place, chunks = 8, {}
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        name = png[place + 4 : place + 8]
        chunks[name] = png[place + 8 : place + 8 + length]
        place += length + 12
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (1, 0)
    raw = zlib.decompress(chunks[b"IDAT"])
    stride = (width + 7) // 8 + 1
    rows = []
    above = bytes(stride - 1)
    for number in range(height):
        what, *row = raw[number * stride : (number + 1) * stride]
        assert what in {0, 2}, "a filter that this test does not know"
        if what == 2:  # each byte is added to the one above
            row = [(byte + over) % 256 for byte, over in zip(row, above, strict=True)]
        above = bytes(row)
        bits = "".join(f"{byte:08b}" for byte in row)[:width]
        rows.append([bit == "0" for bit in bits])
    return rows


def test_it_has_the_codes_modules_large_enough_within_a_quiet_zone() -> None:
    rows = pixels(data_url(CODE))

    modules = [
        list(map(bool, row)) for row in segno.make_qr(CODE, error="l", boost_error=False).matrix
    ]
    scale = len(rows) // (len(modules) + 8)
    assert scale >= 4
    assert len(rows) == len(rows[0]) == (len(modules) + 8) * scale
    light = [False] * (len(modules) + 8)
    framed = [[False] * 4 + row + [False] * 4 for row in modules]
    assert [row[::scale] for row in rows[::scale]] == [light] * 4 + framed + [light] * 4


def test_it_is_of_a_size_that_pages_show_whole() -> None:
    assert 300 <= len(pixels(data_url(CODE))) <= 500
