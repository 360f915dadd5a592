"""MP4 files put together box by box (ISO 14496-12), as tools write them that no library here imitates."""

from __future__ import annotations

import struct
from pathlib import Path

import av

INSIDE = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
Box = tuple[bytes, "bytes | list[Box]"]


def two_descriptions(first: Path, second: Path, path: Path) -> Path:
    """The packets of two films of one codec and time base in one track, each with its own description."""
    parts = [_packets(first), _packets(second)]
    every = [packet for part in parts for packet in part]
    boxes = [_boxes(file.read_bytes()) for file in (first, second)]
    head = _written([box for box in boxes[0] if box[0] == b"ftyp"])
    content = b"".join(data for data, _, _ in every)
    begin = len(head) + 8
    starts = (begin, begin + sum(len(data) for data, _, _ in parts[0]))
    keys = [number for number, (_, key, _) in enumerate(every, 1) if key]
    described = [_found(box, *INSIDE, b"stsd") for box in boxes]
    tables = {
        b"stsd": _table(2) + b"".join(text[8:] for text in described),
        b"stts": _table(1, len(every), every[0][2]),
        b"stss": _table(len(keys), *keys),
        b"stsc": _table(2, 1, len(parts[0]), 1, 2, len(parts[1]), 2),
        b"stsz": _table(0, len(every), *(len(data) for data, _, _ in every)),
        b"stco": _table(2, *starts),
    }
    movie = [_replaced(box, tables, (b"edts", b"ctts")) for box in boxes[0] if box[0] == b"moov"]
    path.write_bytes(head + struct.pack(">I4s", len(content) + 8, b"mdat") + content + _written(movie))
    return path


def two_headers(first: Path, second: Path, path: Path) -> Path:
    """The packets of two films of H.264 in one track, whose record (ISO 14496-15) has the headers of both."""
    with av.open(str(first)) as one, av.open(str(second)) as other, av.open(str(path), "w") as made:
        copy = made.add_stream_from_template(one.streams.video[0])
        records = [given.streams.video[0].codec_context.extradata or b"" for given in (one, other)]
        sequences, pictures = zip(*map(_headers, records), strict=True)
        copy.codec_context.extradata = (
            records[0][:5] + b"\xe2" + b"".join(sequences) + b"\x02" + b"".join(pictures)
        )
        begin = 0
        for given in (one, other):
            for packet in given.demux(given.streams.video[0]):
                if packet.size:
                    packet.pts, packet.dts = (packet.pts or 0) + begin, (packet.dts or 0) + begin
                    end, packet.stream = packet.pts + (packet.duration or 0), copy
                    made.mux(packet)
            begin = end
    return path


def _headers(record: bytes) -> tuple[bytes, bytes]:
    """The header of the sequence and that of pictures, each behind its length."""
    length = 2 + int.from_bytes(record[6:8], "big")
    rest = record[6 + length + 1 :]
    return record[6 : 6 + length], rest[: 2 + int.from_bytes(rest[:2], "big")]


def with_key_frames(source: Path, path: Path, numbers: list[int]) -> Path:
    """The same film with another table of key frames, from 1; its movie box is the last."""
    tables = {b"stss": _table(len(numbers), *numbers)}
    path.write_bytes(_written([_replaced(box, tables, ()) for box in _boxes(source.read_bytes())]))
    return path


def _packets(path: Path) -> list[tuple[bytes, bool, int]]:
    """Content, whether it is a key frame, and duration of each."""
    with av.open(str(path)) as container:
        return [(bytes(p), p.is_keyframe, p.duration or 0) for p in container.demux(video=0) if p.size]


def _table(*values: int) -> bytes:
    """Version and flags, then numbers."""
    return struct.pack(f">{len(values) + 1}I", 0, *values)


def _boxes(data: bytes) -> list[Box]:
    found: list[Box] = []
    place = 0
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        inner = data[place + 8 : place + size]
        found.append((kind, _boxes(inner) if kind in INSIDE else inner))
        place += size
    return found


def _found(boxes: list[Box], *names: bytes) -> bytes:
    inner = next(content for kind, content in boxes if kind == names[0])
    if isinstance(inner, bytes):
        return inner
    return _found(inner, *names[1:])


def _replaced(box: Box, tables: dict[bytes, bytes], without: tuple[bytes, ...]) -> Box:
    """With other tables, and without some boxes."""
    kind, content = box
    if isinstance(content, bytes):
        return kind, tables.get(kind, content)
    return kind, [_replaced(inner, tables, without) for inner in content if inner[0] not in without]


def _written(boxes: list[Box]) -> bytes:
    written = b""
    for kind, content in boxes:
        inner = content if isinstance(content, bytes) else _written(content)
        written += struct.pack(">I4s", len(inner) + 8, kind) + inner
    return written
