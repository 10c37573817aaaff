"""What an operator changes from the screen: asked, sent, and told."""

from typing import Any

from textual.app import App

from sekring.cli.durations import in_words
from sekring.cli.failures import ServiceRefused, Unreachable
from sekring.cli.printable import printable
from sekring.cli.reset import reset_in_words, resets_in_words
from sekring.cli.watching.board import Board
from sekring.cli.watching.follower import Follower
from sekring.cli.watching.questions import AskReset, AskResets, AskTrip
from sekring.cli.watching.row import Row
from sekring.cli.watching.service import Service
from sekring.cli.watching.view import View
from sekring.model import Snapshot
from sekring.wire import ResetsAnswer

__all__ = ["Operations"]

#: Breakers that one request resets: where one fails, those before it are done and counted.
_AT_ONCE = 200

#: How long what was done stays on the screen, and what was refused, in seconds.
_DONE_S = 6.0
_REFUSED_S = 12.0


class Operations:
    """Each is a conversation on the screen of `app`; run it as a worker."""

    def __init__(self, app: App[Any], service: Service, board: Board, follower: Follower) -> None:
        """Work on the breakers of `board`."""
        self._app, self._service = app, service
        self._board, self._follower = board, follower

    async def reset(self, snapshot: Snapshot) -> None:
        """Close one breaker."""
        name = snapshot.instance_id
        banned = snapshot.ban_until_ms is not None
        body = await self._app.push_screen_wait(AskReset(name, snapshot.state, banned=banned))
        if body is None:
            return
        try:
            answer = await self._service.reset(name, body)
        except (ServiceRefused, Unreachable) as error:
            self._refuse(error)
        else:
            self._tell(reset_in_words(answer))
        self._follower.read_again(name)

    async def trip(self, snapshot: Snapshot) -> None:
        """Force one breaker open."""
        name = snapshot.instance_id
        body = await self._app.push_screen_wait(AskTrip(name, snapshot.state))
        if body is None:
            return
        try:
            answer = await self._service.trip(name, body)
        except (ServiceRefused, Unreachable) as error:
            self._refuse(error)
        else:
            left = answer.remaining_ms
            until = "until a reset" if left is None else f"for {in_words(left)}"
            self._tell(f"{name}: {answer.state} {until}; it was {answer.was}.")
        self._follower.read_again(name)

    async def reset_shown(self) -> None:
        """Close all breakers of the view, those that are not on the screen included."""
        view = self._board.view
        try:
            ids = await self._all_shown(view)
        except (ServiceRefused, Unreachable) as error:
            self._refuse(error)
            return
        if not ids:
            self._tell("Nothing is shown that could be reset.")
            return
        body = await self._app.push_screen_wait(AskResets(len(ids), view.words))
        if body is None:
            return
        done = ResetsAnswer(requested=0, reset=0, unchanged=0, banned=0)
        try:
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                done = _sum(done, await self._service.reset_many(some, body.reason))
        except (ServiceRefused, Unreachable) as error:
            self._refuse(error)
        if done.requested:
            self._tell(resets_in_words(done))
        self._follower.read_again()

    async def _all_shown(self, view: View) -> list[str]:
        if self._board.loaded and not self._board.more:
            return [row.snapshot.instance_id for row in self._board.rows()]
        ids: list[str] = []
        for state in view.chosen.states:
            cursor: str | None = None
            while True:
                page = await self._service.page(state, view.prefix, cursor=cursor)
                ids += [one.instance_id for one in page.instances if view.shows(Row(one, 0.0))]
                cursor = page.cursor
                if cursor is None:
                    break
        return ids

    def _tell(self, words: str) -> None:
        self._app.notify(printable(words), timeout=_DONE_S, markup=False)

    def _refuse(self, error: Exception) -> None:
        self._app.notify(printable(str(error)), severity="error", timeout=_REFUSED_S, markup=False)


def _sum(one: ResetsAnswer, other: ResetsAnswer) -> ResetsAnswer:
    return ResetsAnswer(
        requested=one.requested + other.requested,
        reset=one.reset + other.reset,
        unchanged=one.unchanged + other.unchanged,
        banned=one.banned + other.banned,
    )
