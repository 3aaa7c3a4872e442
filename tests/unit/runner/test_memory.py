from __future__ import annotations

from crewmesh_worker.runner.embedding import embed
from crewmesh_worker.runner.memory import RunMemory


def similarity(first: str, second: str) -> float:
    one, other = embed([first, second])
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_texts_that_share_words_are_near_and_others_are_not() -> None:
    code = "my door code is blue-seven"
    assert similarity(code, "what is my door code?") > 0.4
    assert similarity(code, "doors and codes") > similarity(code, "rain in November")
    assert abs(similarity(code, "Niederschlag pro Monat")) < 0.1
    assert embed(["", "?!"]) == [[0.0] * 512] * 2


def test_what_a_task_brought_out_is_kept_once_and_recalled_in_a_later_run() -> None:
    memory = RunMemory([], said="the gate opens with 1234")
    content = (
        "Task: answer\nAgent: Clerk\nExpected result: a\nResult: b\n"
        "Result: Thought: hm\nFinal Answer: noted"
    )
    texts = memory.extract_memories(content)
    assert texts == ["user: the gate opens with 1234\nanswer: noted"]
    for _ in range(2):
        memory.remember_many(texts)
    changes = memory.take_changes()
    assert changes is not None
    (kept,) = changes.saved
    assert memory.take_changes() is None
    memory.close()

    later = RunMemory(changes.saved, said="what opens the gate?")
    (match,) = later.recall("Task: ... what opens the gate? ... and much else", limit=5)
    assert match.record.content == texts[0]
    assert match.record.id == kept.id
    assert later.recall("Niederschlag pro Monat", limit=5) == []
    assert later.forget(record_ids=[kept.id]) == 1
    changes = later.take_changes()
    assert changes is not None
    assert list(changes.deleted) == [kept.id]
    later.close()
