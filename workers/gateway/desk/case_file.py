"""What the page of one channel shows: its case as a picture, and the docket beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contractcourt.case import State
from storage import at_risk, blocks, docket, force_closes
from storage.at_risk import Stake
from storage.channels import ChannelRow
from storage.database import Connection
from storage.force_closes import ForceCloseRow
from workers.gateway import account_view, case_view, views
from workers.gateway.desk import machine_picture, tree
from workers.gateway.desk.machine_picture import MachinePicture
from workers.gateway.desk.risk import Risk, risk_of
from workers.gateway.desk.tree import Branch
from workers.gateway.responses import AccountView, ChannelView, DocketEntryView

#: Entries of a docket on one page.
DOCKET_ROWS = 50


@dataclass(frozen=True, slots=True)
class CaseFile:
    """One channel. `next_before` leads to older entries of the docket, if there are.

    `asked` is the force close as it was asked for, which its case may not have heard yet.
    """

    id: int
    view: ChannelView
    asked: ForceCloseRow | None
    account: AccountView
    height: int
    stake: Stake | None
    risk: Risk
    picture: MachinePicture
    branches: Sequence[Branch]
    entries: Sequence[DocketEntryView]
    next_before: int | None

    @property
    def may_be_closed(self) -> bool:
        """A force close would begin one: nobody asked yet, and we hold a commitment."""
        open_yet = self.view.state == State.DEFAULT and self.view.close is None and not self.asked
        return open_yet and self.view.local_commitment_number is not None

    @property
    def close_confirmations(self) -> int:
        """Of what spent the funding output."""
        return 0 if self.view.close is None else max(self.height - self.view.close.height + 1, 0)


def case_file(conn: Connection, row: ChannelRow, before: int | None = None) -> CaseFile:
    """One channel as it stands. Raises UnknownChannel when it has no case."""
    view = case_view.whole_case(conn, row)
    account = account_view.account(conn, row)
    cursor = blocks.cursor(conn)
    height = max(cursor.height if cursor else 0, view.best_height or 0)
    stake = at_risk.of_channels(conn, [row.id]).get(row.id)
    entries = docket.latest(conn, row.id, before=before, limit=DOCKET_ROWS + 1)
    shown = entries[:DOCKET_ROWS]
    return CaseFile(
        id=row.id,
        view=view,
        asked=force_closes.find(conn, row.id),
        account=account,
        height=height,
        stake=stake,
        risk=risk_of(None if stake is None else stake.height, height),
        picture=machine_picture.picture([State(state) for state in view.path]),
        branches=tree.branches(view, account, height),
        entries=views.docket_entries(shown),
        next_before=shown[-1].seq if len(entries) > DOCKET_ROWS else None,
    )
