"""A real Chromium without a window, driven by its own chromedriver, and axe-core to judge pages with."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pytest

AXE_VERSION = "4.14.1"
INSTALL_LIMIT_S = 60
HEIGHT_PX = 900
Theme = Literal["light", "dark"]


def tool(*names: str) -> str:
    """Return the path of the first of these programs; the test is skipped where none is."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"no {names[0]}: install Debian's packages chromium and chromium-driver")


def axe_source(folder: Path) -> str:
    """Return axe-core as a script, fetched with npm into ``folder``; skipped where that fails."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm to fetch axe-core with: install Node.js")
    command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        subprocess.run(
            [*command, "--prefix", str(folder), f"axe-core@{AXE_VERSION}"],
            check=True,
            capture_output=True,
            timeout=INSTALL_LIMIT_S,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm cannot fetch axe-core: {error}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


class Browser:
    """One Chromium, from ``with`` to its end; ``driver`` is Selenium's."""

    def __init__(self) -> None:
        """Find the programs; the test is skipped where they are absent."""
        webdriver = pytest.importorskip("selenium.webdriver")
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = tool("chromium", "chromium-browser", "google-chrome")
        # No sandbox and no shared memory: the tests' page is our own, and containers have neither.
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(tool("chromedriver")))

    def __enter__(self) -> Self:
        """Return the browser, which runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.driver.quit()

    def look(self, width_px: int, theme: Theme) -> None:
        """Show pages at this width and in this theme from now on."""
        feature = {"name": "prefers-color-scheme", "value": theme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        size = {"width": width_px, "height": HEIGHT_PX, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def offline(self, *, offline: bool) -> None:
        """Take the network away, or give it back."""
        conditions = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def text(self, selector: str) -> str:
        """Return the text of the first element, as a reader sees it."""
        return str(self.driver.find_element("css selector", selector).text)

    def number(self, expression: str) -> float:
        """Return the value of a JavaScript expression."""
        return float(self.driver.execute_script(f"return {expression}"))

    def complaints(self) -> list[str]:
        """Return what the page wrote to the console since the last time: errors and warnings."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def violations(self, axe: str) -> list[str]:
        """Return what axe-core finds wrong with the page as it stands."""
        self.driver.execute_script(axe)
        found: dict[str, Any] = self.driver.execute_async_script("axe.run().then(arguments[0])")
        return [
            f"{one['id']}: {json.dumps([node['html'] for node in one['nodes']])}"
            for one in found["violations"]
        ]

    def screenshot(self, file: Path) -> None:
        """Write the whole page, from top to bottom, as PNG."""
        width, height = (
            self.number(side) for side in ("innerWidth", "document.documentElement.scrollHeight")
        )
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        taken = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        file.write_bytes(base64.b64decode(taken["data"]))
