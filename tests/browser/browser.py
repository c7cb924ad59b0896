"""Headless Chromium, driven as a person would: look, click, type, wait, take a picture."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

PROJECT = Path(__file__).parent.parent.parent
PICTURES = PROJECT / ".browser"
_AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
_PATIENCE = 120.0
_WIDTH, _TALLEST = 1280, 3000
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
#: Faults of these weights may not be there.
_SERIOUS = ("serious", "critical")


class Browser:
    """One window on one gateway."""

    def __init__(self, driver: Chrome, gateway: str) -> None:
        self.driver = driver
        self._gateway = gateway
        self.width = _WIDTH

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(self._gateway + path)

    def resize(self, width: int, height: int) -> None:
        """A phone, a desk."""
        self.width = width
        facts = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", facts)

    def prefer(self, *, dark: bool) -> None:
        """What the person's system prefers."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def find(self, selector: str) -> WebElement:
        """The element, once it is there."""
        found: list[WebElement] = []

        def is_there() -> bool:
            found[:] = self.driver.find_elements(By.CSS_SELECTOR, selector)
            return bool(found)

        self.wait(is_there, f"{selector} on {self.driver.current_url}")
        return found[0]

    def text(self, selector: str) -> str:
        """What a part of the page says now, "" when it is not there, or the page is being left."""
        try:
            return str(self.driver.find_element(By.CSS_SELECTOR, selector).text)
        except WebDriverException:
            return ""

    def click(self, selector: str) -> None:
        """As with a mouse."""
        element = self.find(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def click_all(self, selector: str) -> None:
        """Until there is none left: each is gone once it has done its work."""

        def none_left() -> bool:
            found = self.driver.find_elements(By.CSS_SELECTOR, selector)
            if found:
                # A live page may draw it anew under the mouse.
                with suppress(WebDriverException):
                    found[0].click()
            return not found

        self.wait(none_left, f"the last of {selector}")

    def type(self, selector: str, text: str) -> None:
        """As with a keyboard."""
        self.find(selector).send_keys(text)

    def wait(self, true: Callable[[], bool], what: str) -> None:
        """Until it is so."""
        give_up_at = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < give_up_at, f"waited in vain for {what}"
            time.sleep(0.1)

    def wait_text(self, selector: str, *words: str) -> None:
        """Until a part of the page says all these words, without being asked again."""
        self.wait(
            lambda: all(word in self.text(selector) for word in words), f"{words} in {selector}"
        )

    def picture(self, name: str, *, whole: bool = True) -> None:
        """Keep what is to be seen, down to the end of the page or of the window."""
        PICTURES.mkdir(exist_ok=True)
        if whole:
            height = self.driver.execute_script("return document.documentElement.scrollHeight")
            self.resize(self.width, min(height, _TALLEST))
        # A part that has just changed is lit up for a moment.
        self.driver.execute_script(
            "document.getAnimations().forEach((animation) => animation.finish())"
        )
        self.driver.save_screenshot(str(PICTURES / f"{name}.png"))

    def faults(self) -> list[str]:
        """Serious faults of accessibility on the page that is open, each with where it is."""
        self.driver.execute_script(_AXE.read_text())
        report: dict[str, Any] = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1]; axe.run().then(done, (e) => done({e}));"
        )
        return [
            f"{fault['id']}: {node['target']}"
            for fault in report["violations"]
            if fault["impact"] in _SERIOUS
            for node in fault["nodes"]
        ]

    def complaints(self) -> list[str]:
        """What the browser itself objected to: blocked by the policy, failed, or missing."""
        entries = self.driver.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


@contextmanager
def browser(gateway: str) -> Iterator[Browser]:
    """A browser of one's own, with a profile of its own, for a while."""
    chromium, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium, "chromium is missing: make browser installs it"
    assert driver_path, "chromedriver is missing: make browser installs it"
    with TemporaryDirectory(prefix="contractcourt-browser-") as profile:
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={_WIDTH},900"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # The driver is named, so nothing is looked for or downloaded.
        driver = Chrome(options=options, service=Service(driver_path))
        driver.set_script_timeout(_PATIENCE)
        try:
            yield Browser(driver, gateway)
        finally:
            driver.quit()
