"""Looking: channels, one case, its docket, and the heights at which money is at risk."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header

from contractcourt.case import State
from storage import channels, deadlines, docket, nodes
from workers.gateway import account_view, case_view, views
from workers.gateway.addresses import After, Limit, NodeName, NodePath, find_channel
from workers.gateway.court import Court
from workers.gateway.problems import Problem
from workers.gateway.responses import (
    AccountView,
    ChannelList,
    ChannelView,
    DeadlineList,
    DocketPage,
    NodeAccountView,
    refusals,
)


def routes(court: Court) -> APIRouter:
    """Everything under `/v1` that changes nothing."""

    def may_read(authorization: Annotated[str | None, Header()] = None) -> None:
        court.access.require_reader(authorization)

    router = APIRouter(
        prefix="/v1", tags=["look"], dependencies=[Depends(may_read)], responses=refusals(401, 503)
    )

    @router.get("/channels", responses=refusals(422))
    def list_channels(
        state: State | None = None,
        node: NodeName | None = None,
        after: After = 0,
        limit: Limit = 100,
    ) -> ChannelList:
        """Channels in the order they were opened, by state and node."""
        with court.db.looking() as conn:
            # One more than asked for tells whether a page follows.
            rows = channels.list_channels(
                conn, state=state, node=node, after=after, limit=limit + 1
            )
        shown = rows[:limit]
        return ChannelList(
            channels=[views.summary(row) for row in shown],
            next_after=shown[-1].id if len(rows) > limit else None,
        )

    @router.get("/channels/{cp}", responses=refusals(404, 422))
    def show_channel(cp: str) -> ChannelView:
        """One case: state, close, contracts, broadcasts with their raw transactions, risks."""
        with court.db.looking() as conn:
            return case_view.whole_case(conn, find_channel(conn, cp))

    @router.get("/channels/{cp}/account", responses=refusals(404, 422))
    def show_account(cp: str) -> AccountView:
        """Who won each output of the close, by which transaction, at what fee."""
        with court.db.looking() as conn:
            return account_view.account(conn, find_channel(conn, cp))

    @router.get("/channels/{cp}/docket", responses=refusals(404, 422))
    def show_docket(cp: str, after: After = 0, limit: Limit = 100) -> DocketPage:
        """Everything that happened to a channel, in order. Secrets are blanked."""
        with court.db.looking() as conn:
            row = find_channel(conn, cp)
            entries = docket.entries(conn, row.id, after=after, limit=limit + 1)
        shown = entries[:limit]
        return DocketPage(
            channel_point=str(row.channel_point),
            entries=views.docket_entries(shown),
            next_after=shown[-1].seq if len(entries) > limit else None,
        )

    @router.get("/nodes/{node}/account", responses=refusals(404, 422))
    def show_node_account(node: NodePath, after: After = 0, limit: Limit = 1000) -> NodeAccountView:
        """What a node recovered, paid and lost, over its channels in the order of their opening."""
        with court.db.looking() as conn:
            if nodes.get_node(conn, node) is None:
                raise Problem("unknown-node", f"no node {node} is registered")
            return account_view.node_view(
                node, *account_view.of_node(conn, node, after=after, limit=limit)
            )

    @router.get("/deadlines", responses=refusals(422))
    def list_deadlines(limit: Limit = 100) -> DeadlineList:
        """Heights at which a case looks again, or by which a sweep should be mined, with the money
        at risk there, the nearest first."""
        with court.db.looking() as conn:
            nearest = deadlines.nearest(conn, limit)
        return DeadlineList(deadlines=[case_view.deadline(due) for due in nearest])

    return router
