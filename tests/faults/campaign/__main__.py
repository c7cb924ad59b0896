"""`python -m tests.faults.campaign --seed 1 --channels 300`; exit code 1 on any loss."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from rich.console import Console

from tests.faults.campaign.cast import PLAYED, Cast
from tests.faults.campaign.judge import ends, judge
from tests.faults.campaign.miner import Miner
from tests.faults.campaign.play import Stage
from tests.faults.campaign.report import Report
from tests.faults.campaign.storm import Storm
from tests.faults.parts import PartedCourt, Size, parted_court

_SIZE = Size(watchers=2, workers=2, beats=2)


def main() -> int:
    """Play one campaign and print what came of it."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--channels", type=int, default=2 * len(PLAYED))
    arguments = parser.parse_args()
    random = Random(arguments.seed)
    with (
        tempfile.TemporaryDirectory(prefix="contractcourt-faults-") as folder,
        parted_court(Path(folder), _SIZE, careless=Random(random.random())) as court,
    ):
        report = _campaign(court, arguments.seed, arguments.channels, random)
    report.show(Console())
    return 0 if report.verdict.is_clean else 1


def _campaign(court: PartedCourt, seed: int, count: int, random: Random) -> Report:
    began = time.monotonic()
    say = Console(stderr=True).print
    say(f"{len(PLAYED)} channels in calm weather, to know how each kind of close ends")
    miner = Miner(court.client)
    calm = Cast(court, "calm", len(PLAYED), miner.keep_sending)
    Stage(court, calm, miner, None, random).play()
    undisturbed = ends(court, calm.actors)
    say(f"{count} channels in the storm of seed {seed}")
    miner = Miner(court.client)
    cast = Cast(court, f"storm{seed}", count, miner.keep_sending)
    storm = Storm(court, random)
    stage = Stage(court, cast, miner, storm, random)
    stage.play()
    verdict = judge(court, cast.actors, undisturbed)
    injected = storm.injected
    injected["webhooks doubled"] = court.client.doubled
    injected["updates reordered"] = court.client.reordered
    injected["blocks reorganised away"] = sum(miner.reorgs)
    return Report(
        seed=seed,
        channels=count,
        events=stage.run.events,
        blocks=miner.blocks,
        injected=injected,
        fallen=+court.fallen,
        verdict=verdict,
        recoveries=stage.run.recoveries,
        seconds=time.monotonic() - began,
    )


if __name__ == "__main__":
    sys.exit(main())
