"""The docket page at `/`: channels, states and open alarms, as one plain page without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import HTMLResponse

from storage import alarms, channels
from storage.alarms import Alarm
from storage.channels import ChannelRow
from workers.gateway.addresses import After
from workers.gateway.court import Court

_ROWS = 200

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
       color: #1c1c1c; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd;
         vertical-align: top }
code { font-size: .85em; overflow-wrap: anywhere }
pre { background: #f5f5f5; padding: .6rem; overflow-x: auto }
.alarm { color: #a00000 }
"""


def routes(court: Court) -> APIRouter:
    """`GET /`."""
    router = APIRouter()

    @router.get("/", include_in_schema=False)
    def docket_page(
        after: After = 0, authorization: Annotated[str | None, Header()] = None
    ) -> HTMLResponse:
        court.access.require_reader(authorization)
        with court.db.transaction() as conn:
            rows = channels.list_channels(conn, after=after, limit=_ROWS + 1)
            raised = alarms.list_open(conn, limit=_ROWS)
        return _page(rows, raised)

    return router


def document(title: str, body: str) -> HTMLResponse:
    """A whole HTML page around `body`, which is markup already. It loads and runs nothing."""
    return HTMLResponse(
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        content='<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>",
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are markup already."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _page(rows: Sequence[ChannelRow], raised: Sequence[Alarm]) -> HTMLResponse:
    shown = rows[:_ROWS]
    alarms_table = table(("since", "channel", "kind", "what to do"), map(_alarm_cells, raised))
    channels_table = table(
        ("channel", "node", "sat", "state", "close", "closed at", "docket"),
        map(_channel_cells, shown),
    )
    more = f'<p><a href="/?after={shown[-1].id}">more</a></p>' if len(rows) > _ROWS else ""
    return document(
        "contractcourt",
        f"<h2>Open alarms</h2>{alarms_table if raised else '<p>none</p>'}"
        f"<h2>Channels</h2>{channels_table}{more}"
        '<p><a href="/docs">API</a> <a href="/v1/deadlines">deadlines</a></p>',
    )


def _channel_cells(row: ChannelRow) -> Sequence[str]:
    point = str(row.channel_point)
    return (
        f'<a href="/v1/channels/{point}"><code>{point}</code></a>',
        escape(row.node),
        f"{row.capacity_sat:,}",
        row.state.value,
        "" if row.close_kind is None else row.close_kind.value,
        "" if row.closed_height is None else str(row.closed_height),
        f'<a href="/v1/channels/{point}/docket">{row.last_seq}</a>',
    )


def _alarm_cells(alarm: Alarm) -> Sequence[str]:
    point = "" if alarm.channel_point is None else str(alarm.channel_point)
    return (
        f"{alarm.raised_at:%Y-%m-%d %H:%M:%S}",
        f'<a href="/v1/channels/{point}"><code>{point}</code></a>'
        if point
        else escape(alarm.node or "the court"),
        f'<span class="alarm">{escape(alarm.kind)}</span>',
        escape(alarm.message),
    )
