"""The multi-view test: what is averaged, and what PyTorchVideo itself makes of the same files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from absent import NO_DECORD
from films import film, textured
from foreign import randomised
from peers import create_x3d, pytorchvideo_part
from torch import Tensor, nn

from expander.data.annotations import VideoList
from expander.data.test_list import HeldOut
from expander.evaluation.multiview import Average, Scorer, macs_per_view, probabilities
from expander.evaluation.result import summary
from expander.model.network import X3D
from expander.profiling.count import count
from expander.specs.spec import Base, Spec
from expander.video.decoder import Decoder, VideoError
from expander.video.probe import Verdict
from expander.video.verdict_cache import Verdicts, key_of
from expander.video.view_protocols import PROTOCOLS, Protocol, Views, view_crop
from expander.video.views import Look, ViewedVideo, look, look_ahead
from expander.weights.convert import to_ours
from expander.weights.key_map import LIBRARIES

SMALL = Spec(Base(4, 6, 64, 8, (1, 1, 1, 1), 32, 5))  # at its test size of 74 pixels: 2 x 2 positions


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower with several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    return film(path, 90, 30, size=(80, 142), options={"qp": "4"}, draw=textured)


def network(spec: Spec = SMALL) -> X3D:
    return randomised(X3D(spec)).eval()  # type: ignore[return-value]


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class Echo(nn.Module):
    """A network whose clips are their own logits."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_prob_and_score_average_probabilities_and_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(7, 4)) * 5
    batches = [torch.tensor(logits[:4]), torch.tensor(logits[4:])]
    for average, wanted in (("prob", softmax(logits).mean(0)), ("score", logits.mean(0))):
        scorer = Scorer(Echo(), Look(SMALL, Views(7, 1)), average)  # type: ignore[arg-type]
        np.testing.assert_allclose(scorer.score(batches), wanted, rtol=1e-6)


def by_position(net: X3D, clip: Tensor) -> np.ndarray:
    """(4, classes): the network on the four 2 x 2 windows of its last map, by hand."""
    with torch.inference_mode():
        x = clip
        for part in (net.stem, *net.stages):
            x = part(x)
        x = F.relu(net.head.bn(net.head.conv(x)))
        assert x.shape[-2:] == (3, 3)
        pooled = [x[..., i : i + 2, j : j + 2].mean((2, 3, 4)) for i in (0, 1) for j in (0, 1)]
        return torch.cat([net.head.classify(one) for one in pooled]).numpy()


def by_hand(net: X3D, clip: Tensor, protocol: Protocol, average: Average) -> np.ndarray:
    """(classes,) of one view."""
    if protocol in ("slowfast", "pytorchvideo") and clip.shape[-1] == 74:
        logits = by_position(net, clip)
    else:
        with torch.inference_mode():
            logits = net(clip).numpy()
    if average == "score" or protocol == "pytorchvideo":
        logits = logits.mean(0, keepdims=True)
    return (logits if average == "score" else softmax(logits)).mean(0)


@pytest.mark.parametrize("average", ["prob", "score"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_30_views_are_10_clips_of_3_crops_one_by_one(
    video: Path, protocol: Protocol, average: Average
) -> None:
    net, how = network(), Look(SMALL, Views(10, 3), protocol)
    seen = look(video, how, Decoder())
    assert len(seen) == 30
    clips = [seen[number].permute(3, 0, 1, 2)[None] for number in range(30)]
    wanted = np.mean([by_hand(net, clip, protocol, average) for clip in clips], axis=0)
    for batch in (1, 7, 30):
        found = Scorer(net, how, average, batch).video(seen)
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-6)


def test_a_single_video_is_classified_as_the_default_test_does(video: Path) -> None:
    net = network()
    seen = look(video, Look(SMALL, Views(10, 1)), Decoder())
    found = Scorer(net, Look(SMALL, Views(10, 1))).video(seen)
    np.testing.assert_array_equal(probabilities(net, SMALL, video, 10), found)
    assert found.sum() == pytest.approx(1, abs=1e-5)


def pytorchvideo_scores(theirs: nn.Module, path: Path, spec: Spec, clips: int, crops: int) -> np.ndarray:
    """(classes,): its sampler, decoder, transforms and network, probabilities averaged over views.

    Its release 0.1.5 spreads N clips over the room in steps of room / N, where its current code and ours
    take room / (N - 1): asked for one clip less, it gives the same starts, and the last one is the room.
    """
    functional = pytorchvideo_part("transforms.functional")
    sampling = pytorchvideo_part("data.clip_sampling")
    opened = pytorchvideo_part("data.encoded_video_decord").EncodedVideoDecord(str(path), decode_audio=False)
    span = Fraction(spec.frames * spec.stride, 30)
    sampler = sampling.ConstantClipsPerVideoSampler(span, max(clips - 1, 1))
    length = Fraction(len(opened._av_reader)) / Fraction(opened._fps).limit_denominator(1001)
    starts = [sampler(0, length, {}).clip_start_sec for _ in range(max(clips - 1, 1))]
    starts += [max(length - span, Fraction(0))] if clips > 1 else []
    side, crop = spec.test_size, spec.crop if crops == 1 else spec.test_size
    found = []
    for start in starts:
        frames = opened.get_clip(start, start + span)["video"]
        frames = functional.uniform_temporal_subsample(frames, spec.frames)
        frames = (frames / 255 - 0.45) / 0.225
        frames = functional.short_side_scale(frames, side)
        for index in (1,) if crops == 1 else (0, 1, 2):
            with torch.inference_mode():
                found.append(theirs(functional.uniform_crop(frames, crop, index)[None]).softmax(1)[0])
    return torch.stack(found).mean(0).numpy()


def restless(number: int, height: int, width: int) -> np.ndarray:
    """(H, W, 3): coarse noise, other in every frame."""
    cells = np.random.default_rng(number).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return cells.repeat(8, 0).repeat(8, 1)[:height, :width]


def sensitive(theirs: nn.Module, spec: Spec) -> nn.Module:
    """Its classifier scaled and shifted, so that what differs between clips decides."""
    pixels = np.stack([restless(n, spec.crop, spec.crop) for n in range(spec.frames * 8)]) / 255
    clips = torch.from_numpy((pixels - 0.45) / 0.225).float().unflatten(0, (8, -1)).permute(0, 4, 1, 2, 3)
    linear = theirs.get_submodule("blocks.5.proj")
    with torch.inference_mode():
        logits = theirs(clips)
    linear.weight.data *= 2 / logits.std(0).mean()
    linear.bias.data = -logits.mean(0) * 2 / logits.std(0).mean()
    return theirs


@pytest.fixture
def torch_bridge() -> Iterator[None]:
    """PyTorchVideo sets decord's answers to tensors, for the whole process."""
    decord = pytest.importorskip("decord", reason=NO_DECORD)
    decord.bridge.set_bridge("torch")
    yield
    decord.bridge.set_bridge("native")


@pytest.mark.usefixtures("torch_bridge")
@pytest.mark.parametrize("crops", [1, 3])
def test_the_scores_are_those_of_pytorchvideo_itself(tmp_path: Path, crops: int) -> None:
    spec = Spec(Base(4, 6, 64, 24, (1, 2, 5, 3), 2048, 5), bottleneck=2.25)
    torch.manual_seed(0)
    theirs = sensitive(randomised(create_x3d(spec, spec.crop)), spec)
    ours = X3D(spec)
    ours.load_state_dict(to_ours(theirs.state_dict(), spec, LIBRARIES["pytorchvideo"], "theirs"))
    scorer = Scorer(ours.eval(), Look(spec, Views(4, crops), "pytorchvideo"))
    files = [(90, 25, (80, 142)), (100, 30, (142, 80)), (7, 25, (66, 98)), (61, 24, (80, 80))]
    for length, fps, size in files:
        path = film(tmp_path / f"{length}.mp4", length, fps, size=size, draw=restless)
        found = scorer.video(look(path, scorer.how, Decoder()))
        wanted = pytorchvideo_scores(theirs, path, spec, 4, crops)
        np.testing.assert_allclose(found, wanted, atol=1e-3)
        other = replace(scorer, how=Look(spec, Views(4, crops), "mmaction2"))
        assert np.abs(other.video(look(path, other.how, Decoder())) - wanted).max() > 0.01


def test_the_cost_is_that_of_the_test_crop_and_of_every_position() -> None:
    crop = view_crop("slowfast", 3, SMALL)
    one = count(X3D(SMALL).eval(), torch.zeros(1, 3, 4, crop, crop)).macs
    assert macs_per_view(SMALL, Views(10, 3), "expander") == one
    inner, head = SMALL.inner_widths[-1], SMALL.base.head_width
    linears = inner * head + head * SMALL.base.classes
    assert macs_per_view(SMALL, Views(10, 3), "slowfast") == one + 3 * linears
    small = count(X3D(SMALL).eval(), torch.zeros(1, 3, 4, 64, 64)).macs
    assert macs_per_view(SMALL, Views(10, 1), "slowfast") == small


def test_the_decoder_is_asked_once_and_in_order_whatever_the_views(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, asked, opened = Decoder(), list[int](), list[Path]()
    gather, open_ = decoder.process.gather, decoder.process.open

    def watched_gather(video: object, unique: np.ndarray) -> np.ndarray:
        asked.extend(unique.tolist())
        return gather(video, unique)  # type: ignore[arg-type]

    def watched_open(path: Path, verdict: object = None) -> object:
        opened.append(path)
        return open_(path, verdict)  # type: ignore[arg-type]

    monkeypatch.setattr(decoder.process, "gather", watched_gather)
    monkeypatch.setattr(decoder.process, "open", watched_open)
    monkeypatch.setattr("expander.video.decoder.CHUNK_BYTES", 500_000)  # some 14 frames at a time
    seen = look(video, Look(SMALL, Views(10, 3), "slowfast"), decoder)
    assert opened == [video]
    assert asked == sorted(set(asked))
    assert len(asked) == len(seen.frames)
    monkeypatch.undo()
    whole = look(video, Look(SMALL, Views(10, 3), "slowfast"), decoder)
    assert all(torch.equal(seen[number], whole[number]) for number in range(30))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_videos_come_in_order_and_bad_ones_as_their_reason(
    tmp_path: Path, video: Path, workers: int
) -> None:
    short = film(tmp_path / "short.mp4", 3, size=(80, 142), draw=textured)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    paths = [video, bad, short, tmp_path / "missing.mp4", video]
    found = list(look_ahead(paths, Look(SMALL, Views(2, 1)), Decoder, workers))
    assert [isinstance(one, ViewedVideo) for one in found] == [True, False, True, False, True]
    assert isinstance(found[1], VideoError)
    assert "bad.mp4" in str(found[1])
    assert "no such file" in str(found[3])
    assert torch.equal(found[0].frames, found[4].frames)  # type: ignore[union-attr]
    assert len(found[2].frames) <= 3  # type: ignore[union-attr]


def test_a_video_that_hangs_its_decoder_fails_and_the_others_are_scored(tmp_path: Path, video: Path) -> None:
    pipe, verdicts = tmp_path / "pipe.mp4", tmp_path / "verdicts.jsonl"
    os.mkfifo(pipe)  # opened for reading, it waits for ever for a writer
    Verdicts(verdicts).add(key_of(pipe), Verdict("decord"))  # or its length of 0 gives it away
    listed = HeldOut(VideoList((video, pipe, video), (0, 1, 2)), ("a", "pipe", "b"))
    how = Look(SMALL, Views(1, 1))
    scorer = Scorer(network(), how, decoder=lambda: Decoder(verdicts=verdicts, timeout=4))
    outcome = scorer.run(listed)
    assert outcome.failed == (("pipe", "decoding it took over 4 s"),)
    assert np.isfinite(outcome.scores).all(1).tolist() == [True, False, True]
    found = summary(scorer, listed, outcome, tuple("vwxyz"))
    assert (found["n"], found["n_failed"]) == (2, 1)
    assert found["failed"] == [{"path": "pipe", "reason": "decoding it took over 4 s"}]
