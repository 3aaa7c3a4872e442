from __future__ import annotations

from crewmesh_worker.runs.slots import Slots


def test_places_are_counted_and_changes_told() -> None:
    slots = Slots(2)
    told: list[int] = []
    slots.on_change(lambda: told.append(slots.free))
    slots.take()
    slots.take()
    slots.take()
    slots.give_back()
    assert told == [1, 0, 0, 0]
    assert slots.taken == 2


def test_closed_slots_are_never_free_and_empty_once_all_are_given_back() -> None:
    slots = Slots(2)
    assert slots.empty.is_set()
    slots.take()
    slots.close()
    assert (slots.free, slots.closed, slots.empty.is_set()) == (0, True, False)
    slots.take()
    slots.give_back()
    assert not slots.empty.is_set()
    slots.give_back()
    assert (slots.free, slots.empty.is_set()) == (0, True)
