"""Tickets: a user opens, an agent answers, they alternate; the status follows from how the thread stands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generators import ragged
from generators.chunk import Chunk, Columns, dates
from generators.world import HOUR, MINUTE, Floats, Integers

ROWS = 5_000
MOST_MESSAGES = 14
SAME_SENDER_AGAIN = 0.12
ABANDONED = 0.08  # threads that simply stop
CLOSED = 0.6  # of the finished ones; the others are resolved
STATUSES = np.array(["open", "in_progress", "waiting", "resolved", "closed"], dtype=object)
OPEN, IN_PROGRESS, WAITING, RESOLVED, CLOSED_STATUS = range(5)
ISSUES = {"billing": 0.2, "delivery": 0.27, "technical": 0.21, "account": 0.12, "refund": 0.14, "other": 0.06}
# Median hours that agents take to answer, by issue.
PATIENCE = np.array([1.5, 0.8, 3.0, 1.0, 4.0, 2.0])


@dataclass(frozen=True)
class Threads:
    """Messages of consecutive tickets, flat.

    Attributes:
        counts: Messages per ticket, at least one.
        sent: When each was sent.
        by_agent: Whether an agent wrote it.
        complete: Per ticket, whether nothing more is to come.
    """

    counts: Integers
    sent: Integers
    by_agent: NDArray[np.bool_]
    complete: NDArray[np.bool_]


def draw(chunk: Chunk) -> Columns:
    """Draw tickets with their conversations."""
    asked = chunk.moments()
    created = asked - np.where(chunk.chance(0.5), 0, chunk.rng.integers(0, 3_000, chunk.size))
    users = chunk.world.users.draw(chunk.rng, chunk.size)
    issues = np.searchsorted(np.cumsum(list(ISSUES.values()))[:-1], chunk.rng.random(chunk.size))
    threads = _so_far(_threads(chunk, asked, PATIENCE[issues]), chunk.window.end)
    status, updated = _state(chunk, threads)
    return {
        "_id": chunk.object_ids(created),
        "ticket_id": chunk.keys("T"),
        "user_id": chunk.world.users.ids(users),
        "status": STATUSES[status].tolist(),
        "issue_type": [list(ISSUES)[place] for place in issues.tolist()],
        "messages": _messages(chunk, threads, users),
        "created_at": dates(created),
        "updated_at": dates(updated),
    }


def _threads(chunk: Chunk, asked: Integers, patience: Floats) -> Threads:
    """Draw whole conversations, as if time had no end."""
    counts = chunk.counts(4.5, MOST_MESSAGES, least=2)
    first = ragged.positions(counts) == 0
    turns = (chunk.rng.random(len(first)) >= SAME_SENDER_AGAIN) & ~first
    by_agent = ragged.running_totals(turns.astype(np.int64), counts) % 2 == 1
    agents = (chunk.spans(HOUR, 1.0, len(first)) * np.repeat(patience, counts)).astype(np.int64)
    gaps = np.where(by_agent, agents, chunk.spans(3 * HOUR, 1.2, len(first)))
    sent = np.repeat(asked, counts) + ragged.running_totals(np.where(first, 0, gaps), counts)
    stops = np.where(chunk.chance(ABANDONED), chunk.rng.integers(1, MOST_MESSAGES, chunk.size), MOST_MESSAGES)
    return _cut(Threads(counts, sent, by_agent, np.ones(chunk.size, dtype=bool)), np.minimum(counts, stops))


def _so_far(threads: Threads, end: int) -> Threads:
    """Drop what has not been written by the end of the window."""
    return _cut(threads, ragged.kept_counts(threads.counts, threads.sent <= end))


def _cut(threads: Threads, counts: Integers) -> Threads:
    """Keep the first messages of each thread; a thread that loses some is not complete."""
    keep = ragged.positions(threads.counts) < np.repeat(counts, threads.counts)
    complete = threads.complete & (counts == threads.counts)
    return Threads(counts, threads.sent[keep], threads.by_agent[keep], complete)


def _state(chunk: Chunk, threads: Threads) -> tuple[Integers, Integers]:
    """Return each ticket's status and when it last changed: its last message, or its closing some time after."""
    last = np.cumsum(threads.counts) - 1
    answered = np.bincount(ragged.owners(threads.counts), weights=threads.by_agent) > 0
    closing = threads.sent[last] + chunk.spans(90 * MINUTE, 1.5)
    done = threads.complete & answered & (closing <= chunk.window.end)
    outcome = np.where(chunk.chance(CLOSED), CLOSED_STATUS, RESOLVED)
    status = np.select([done, ~answered, threads.by_agent[last]], [outcome, OPEN, WAITING], IN_PROGRESS)
    return status, np.where(done, closing, threads.sent[last])


def _messages(chunk: Chunk, threads: Threads, users: Integers) -> list[list[dict[str, object]]]:
    locales = chunk.world.user_locales[np.repeat(users, threads.counts)]
    questions = chunk.words.local(chunk.words.questions, locales, chunk.rng)
    answers = chunk.words.local(chunk.words.answers, locales, chunk.rng)
    rows = zip(threads.by_agent.tolist(), questions, answers, dates(threads.sent), strict=True)
    items: list[dict[str, object]] = [
        {"sender": "agent", "text": answer, "sent_at": at}
        if agent
        else {"sender": "user", "text": question, "sent_at": at}
        for agent, question, answer, at in rows
    ]
    return ragged.split(items, threads.counts)
