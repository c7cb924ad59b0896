"""A person at the desk: a browser without scripts, which keeps cookies and sends forms."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape

import httpx2

_FIELD = re.compile(r'<input type="hidden" name="(?P<name>[^"]+)" value="(?P<value>[^"]*)"')


@dataclass
class Desk:
    """One visitor of one gateway."""

    url: str
    page: httpx2.Response = field(init=False)

    def __post_init__(self) -> None:
        # A browser tells where a form comes from.
        headers = {"sec-fetch-site": "same-origin"}
        self.http = httpx2.Client(
            base_url=self.url, timeout=30, follow_redirects=True, headers=headers
        )

    def open(self, path: str) -> str:
        """The text of a page."""
        self.page = self.http.get(path)
        return self.page.text

    def sign_in(self, token: str) -> httpx2.Response:
        """Fill in the sign-in page."""
        self.open("/sign-in")
        return self.send("/sign-in", token=token)

    def send(self, path: str, **fields: str) -> httpx2.Response:
        """Send the form of the page that is open, with these fields filled in."""
        shown = {
            match["name"]: unescape(match["value"]) for match in _FIELD.finditer(self.page.text)
        }
        self.page = self.http.post(path, data={**shown, **fields})
        return self.page
