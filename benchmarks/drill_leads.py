"""How long before the water the drill's rules speak, with and without forecasts: `python -m benchmarks.drill_leads`.

Rehearses each gauge's rule on the drill's own messages, in scenario time, so nothing depends on how fast this machine
is. A lead is from the decision to the arrival of the first reading at the level; negative: after it.
"""

from datetime import datetime, timedelta
from uuid import UUID

import numpy as np

from alerts.lifecycle import LifecycleState, Message, rehearse
from alerts.rule import Reading, level_rule
from ingest.forecast.calibration import table_at
from ingest.forecast.models import HORIZONS_H, Forecaster
from ingest.forecast.outlook import Outlook
from tocsin.drill.load import CLEAR_DWELL, FORECAST_WITHIN, HYSTERESIS_M
from tocsin.drill.sensors import INTERVAL_S
from tocsin.drill.world import World, build


def heard(world: World) -> list[tuple[datetime, int, datetime, float]]:
    """(arrival, sensor, observed, metres) of every reading of water level, in order of arrival."""
    out = []
    for message in world.sent:
        sensor = world.sensors[message.sensor]
        if sensor.quantity == "level":
            factor = 0.01 if sensor.unit == "cm" else 1.0
            out += [(world.at(message.at_h), message.sensor, world.at(h), v * factor) for h, v in message.readings]
    return sorted(out, key=lambda one: (one[0], one[2]))


def outlooks(world: World, events: list[tuple[datetime, int, datetime, float]]) -> dict[int, list[Outlook]]:
    """What is forecast at each reading."""
    table = table_at(HORIZONS_H)
    gauges = {one: Forecaster(HORIZONS_H, table, only_chosen=True) for one in sorted({e[1] for e in events})}
    out: dict[int, list[Outlook]] = {one: [] for one in gauges}
    for arrived, number, observed, value in events:
        if out[number] and observed <= out[number][-1].made_at:
            continue
        basin = world.sensors[number].basin
        near = [f for one, f in gauges.items() if one != number and world.sensors[one].basin == basin]
        others = [f for one, f in gauges.items() if one != number]
        made = gauges[number].step(observed.timestamp(), value, near, others)
        out[number].append(made.outlook(made_at=observed, known_at=arrived, value=value))
    return out


def main() -> None:
    """Prints the leads by level."""
    world = build(1)
    events = heard(world)
    told = outlooks(world, events)
    end = max(e[0] for e in events) + timedelta(hours=1)
    for within in (None, FORECAST_WITHIN):
        leads: dict[str, list[float]] = {}
        never = 0
        for number, known in told.items():
            rule = level_rule(
                tenant_id=UUID(int=1),
                code=world.sensors[number].code,
                datastream_id=number + 1,
                thresholds=world.sensors[number].levels,
                hysteresis=HYSTERESIS_M,
                clear_dwell=CLEAR_DWELL,
                k=2,
                n=3,
                interval=timedelta(seconds=INTERVAL_S),
                forecast_within=within,
            )
            readings = [
                Reading(observed_at=o, received_at=a, value=v, quality=1) for a, one, o, v in events if one == number
            ]
            _, made = rehearse(rule, LifecycleState(evaluated_until=world.starts_at), readings, end, outlooks=known)
            for level, threshold in rule.thresholds.items():
                above = [one.received_at for one in readings if one.value is not None and one.value >= threshold]
                said = [d.at for d in made if d.message in (Message.FIRST, Message.RAISE) and d.after >= level]
                if len(above) >= 2 and said:
                    leads.setdefault(level.word, []).append((above[0] - said[0]).total_seconds() / 60)
                never += len(above) < 2 and bool(said)
        print(f"forecast within {within or 'nothing'}: said and never reached {never}")
        for word, found in leads.items():
            print(
                f"  {word}: {len(found)} gauges, lead {np.median(found):.0f} min ({min(found):.0f} to {max(found):.0f})"
            )


if __name__ == "__main__":
    main()
