"""Floor plan of an apartment: rooms in a grid, doorways between them, furniture that carries objects."""

from __future__ import annotations

import math

import numpy as np

from physics.materials import Material, find_material
from physics.model import Model
from scenegen.errors import SceneError
from scenegen.large.demand import Demand
from scenegen.large.floor import Cell, Fixture, FloorPlan, Job, share_out
from scenegen.large.options import ApartmentConfig, RoomSize
from scenegen.scenes.supports import Region, box_model


def plan_apartment(options: ApartmentConfig, objects: int, demand: Demand, packing: float) -> FloorPlan:
    """Return rooms for a number of objects, furniture counted; see `plan_floor`. Nothing is poured."""
    unit = 1 + options.objects_per_furniture + options.objects_beside
    furniture = math.ceil(objects / unit)
    carried = min(objects - furniture, furniture * options.objects_per_furniture)
    beside = objects - furniture - carried
    room = options.room
    free = options.fill * room.length * room.width
    area = furniture * demand.furniture + beside * demand.footprint
    needed = max(math.ceil(area / free), 1)
    rooms = needed if options.rooms is None else options.rooms
    if rooms < needed:
        raise SceneError(
            f"{furniture} pieces of furniture and {beside} objects beside them do not fit into {rooms} rooms, which "
            f"hold about {math.floor(objects * rooms * free / area)} of {objects} objects; ask for fewer, or raise "
            f"options.rooms to {needed}"
        )
    columns = math.ceil(math.sqrt(rooms * room.width / room.length))
    pitch = np.array([room.length, room.width]) + 2 * room.wall
    half = np.array([room.length, room.width]) / 2
    loads = share_out(carried, furniture)
    cells, used = [], 0
    for number, (pieces, alone) in enumerate(zip(share_out(furniture, rooms), share_out(beside, rooms), strict=True)):
        middle = np.array([*(np.array([number % columns, number // columns]) * pitch), 0.0])
        name = f"room_{number:04d}"
        job = Job(
            f"{name}_in",
            Region(middle, half, room.height),
            standing=alone,
            loads=tuple(loads[used:][:pieces]),
            keep_clear=_doorways(room, middle[:2]),
        )
        used += pieces
        cells.append(Cell(name, (Fixture(name, "room", middle),), (job,)))
    return FloorPlan({"room": make_room(room, find_material(options.wall_material))}, tuple(cells))


def _doorways(room: RoomSize, middle: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the floor before each doorway, as deep as it is wide [m]."""
    x, y, d = room.length / 2, room.width / 2, room.door
    boxes = [
        (-x, -d / 2, d - x, d / 2),
        (x - d, -d / 2, x, d / 2),
        (-d / 2, -y, d / 2, d - y),
        (-d / 2, y - d, d / 2, y),
    ]
    return tuple(middle + np.array([[a, b], [c, b], [c, e], [a, e]]) for a, b, c, e in boxes)


def make_room(size: RoomSize, material: Material) -> Model:
    """Return the four walls of a room, their feet on z = 0, with a doorway in the middle of each."""
    x, y, w, gap = size.length / 2, size.width / 2, size.wall, size.door / 2
    boxes = {}
    for name, low, high in (("front", -y - w, -y), ("back", y, y + w)):
        boxes[f"{name}_left"] = ((-x - w, low, 0.0), (-gap, high, size.height))
        boxes[f"{name}_right"] = ((gap, low, 0.0), (x + w, high, size.height))
        boxes[f"{name}_lintel"] = ((-gap, low, size.door_height), (gap, high, size.height))
    for name, low, high in (("left", -x - w, -x), ("right", x, x + w)):
        boxes[f"{name}_front"] = ((low, -y, 0.0), (high, -gap, size.height))
        boxes[f"{name}_back"] = ((low, gap, 0.0), (high, y, size.height))
        boxes[f"{name}_lintel"] = ((low, -gap, size.door_height), (high, gap, size.height))
    return box_model("room", boxes, material)
