"""The page in a real browser, where Chromium is installed: it sorts, filters, fits a phone, and runs no other script."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from typing import Any

import pytest

from jaxrf.pages.write import write_report
from tests.pages.test_write import HOSTILE
from tests.report.test_figures import result_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
websocket = pytest.importorskip("tornado.websocket")


@contextmanager
def browser(folder, width: int):
    """A headless Chromium; the address at which it is told what to do."""
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--window-size={width},900",
        f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr or ():
            if found := re.search(r"listening on (ws://\S+)", line):
                yield found[1]
                break
    finally:
        process.terminate()
        process.wait(60)


async def told(address: str, page, width: int, scripts: list[str]) -> list[Any]:
    """Opens a page and gives the values of some scripts, as a user of the console would get them."""
    connection = await websocket.websocket_connect(address, max_message_size=2**26)
    number, session = 0, None

    async def send(method: str, **params) -> dict:
        nonlocal number
        number += 1
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        await connection.write_message(json.dumps(message))
        while True:
            answer = json.loads(await asyncio.wait_for(connection.read_message(), 60))
            if answer.get("id") == number:
                return answer["result"]

    target = await send("Target.createTarget", url="about:blank")
    session = (await send("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    await send("Emulation.setDeviceMetricsOverride", **size)
    await send("Page.navigate", url=page.as_uri())
    loaded = "new Promise(go => document.readyState === 'complete' ? go() : addEventListener('load', go))"
    drawn = "new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))"
    values = []
    for script in [loaded, drawn, *scripts]:
        found = await send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        values.append(found["result"].get("value"))
    return values[2:]


def run(tmp_path, scripts: list[str], width: int = 1200, counts: tuple[int, ...] = (30, 4, 100)) -> list[Any]:
    given = {f"net {i}": result_of(seed=i, count=count) for i, count in enumerate(counts)} | {
        HOSTILE: result_of(count=7)
    }
    page = write_report(given, tmp_path / "page.html", title="Report", measures=["sigma"])
    with browser(tmp_path, width) as address:
        return asyncio.run(told(address, page, width, scripts))


SAMPLES = "[...document.querySelectorAll('tbody tr:not([hidden])')].map(row => +row.cells[6].textContent)"
CLICK = "[...document.querySelectorAll('thead button')].find(b => b.textContent === 'samples').click()"
FILTER = "(f => { f.value = 'NET 100'; f.dispatchEvent(new Event('input')) })(document.getElementById('filter'))"


def test_the_table_sorts_and_filters_and_no_name_acts(tmp_path):
    """One click sorts by number, another turns it round, words leave rows out; a hostile name is only text."""
    scripts = [SAMPLES, CLICK, SAMPLES, CLICK, SAMPLES, FILTER, SAMPLES, "document.title"]
    at_first, _, rising, _, falling, _, filtered, title = run(tmp_path, scripts)
    assert (at_first, rising, falling) == ([30, 4, 100, 7], [4, 7, 30, 100], [100, 30, 7, 4])
    assert (filtered, title) == ([100], "Report")


@pytest.mark.parametrize("count", [3, 40])
def test_the_page_fits_a_phone(tmp_path, count):
    """At 390 pixels nothing but the table's own frame scrolls sideways, and two maps stand in a row, seen yet or not."""
    scripts = [
        "document.documentElement.scrollWidth",
        "new Set([...document.querySelectorAll('.grid figure')].map(f => Math.round(f.getBoundingClientRect().x))).size",
    ]
    across, columns = run(tmp_path, scripts, width=390, counts=(30,) * count)
    assert across <= 390 and columns == 2
