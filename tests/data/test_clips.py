"""Clips as the network sees them: the same whoever loads them, and with a cache or without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from expander.config.settings import DataConfig
from expander.data.clips import Clips, Sample, TrainingClips, ViewClips, loader, training_order
from expander.data.sources import decoder, open_data
from expander.errors import EnvironmentFault
from expander.specs.spec import Base, Spec

SPEC = Spec(Base(2, 4, 32, 8, (1, 1), 32, 24))


@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
@pytest.mark.parametrize("workers", [1, 2])
def test_clips_do_not_depend_on_the_number_of_processes_nor_on_the_cache(
    videos: Path, workers: int, cache_gb: float
) -> None:
    config = DataConfig(folder=str(videos), cache_gb=0.0)
    data = open_data(config)
    orders = {"train": list(training_order(len(data.train), 20, seed=3)), "views": range(18)}

    def loaded(how: DataConfig, processes: int) -> dict[str, list[torch.Tensor]]:
        read = decoder(how, data.fingerprint)
        sets = {"train": TrainingClips(data.train, SPEC, True, read),
                "views": ViewClips(data.val, SPEC, 3, read)}  # fmt: skip
        found = {name: [batch.clips for batch in loader(clips, orders[name], 4, processes)]
                 for name, clips in sets.items()}  # fmt: skip
        read.close()
        return found

    one = loaded(config, 0)
    several = loaded(replace(config, cache_gb=cache_gb), workers)
    for name, batches in one.items():
        assert len(batches) == -(-len(list(orders[name])) // 4)
        assert all(map(torch.equal, batches, several[name]))


class Away(Dataset[Sample]):
    """Clips of a store that is away."""

    collate = Clips.collate

    def __getitem__(self, item: object) -> Sample:
        raise EnvironmentFault("s3://bucket/x.tar: the store did not answer: it is away")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_loading_process_raises_is_the_same_one_line(workers: int) -> None:
    with pytest.raises(EnvironmentFault) as told:
        list(loader(Away(), range(2), 2, workers))
    assert str(told.value) == "s3://bucket/x.tar: the store did not answer: it is away"
