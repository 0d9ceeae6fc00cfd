"""``densityguide play`` in a browser: the dial turns, log p follows, no other site is asked."""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
PATIENCE = 500  # seconds: a busy machine compiles slowly


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of a quick model, served by a process of its own."""
    pytest.importorskip("gradio", reason='needs gradio: pip install -e ".[play]"')
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    folder = tmp_path_factory.mktemp("play")
    command = [sys.executable, "-m", "densityguide", "play", "--no-browser", "--model", "digits8"]
    with open(folder / "err", "w") as err:
        server = subprocess.Popen(
            [*command, "--steps", "8", "--port", str(port)],
            stderr=err,
            env={
                **os.environ,
                "XDG_CACHE_HOME": str(folder),
                "GRADIO_TEMP_DIR": str(folder / "up"),
            },
        )
    found = f"http://127.0.0.1:{port}"
    stop = time.monotonic() + PATIENCE
    while found not in (folder / "err").read_text() and time.monotonic() < stop:
        assert server.poll() is None, (folder / "err").read_text()
        time.sleep(0.2)
    yield found
    server.terminate()
    server.wait(timeout=30)


@pytest.fixture
def page(browser, address):
    """The page, open; at the end: no error was logged, and no other address was asked."""
    width(browser, 1400)
    browser.get("about:blank")  # leaving a page in the middle of an answer is logged as an error
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(address)
    wait(browser, lambda: len(captions(browser, "dg-pictures")) == 4)
    yield browser
    assert [one for one in browser.get_log("browser") if one["level"] == "SEVERE"] == []
    foreign = [one for one in requested(browser) if not one.startswith((address, "data:", "blob:"))]
    assert foreign == []


def wait(browser, condition):
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    # Pictures are replaced while they are looked at.
    patient = WebDriverWait(
        browser, PATIENCE, 0.1, ignored_exceptions=[StaleElementReferenceException]
    )
    patient.until(lambda _: condition())


def width(browser, pixels):
    size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def requested(browser):
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    wanted = ("Network.requestWillBeSent", "Network.webSocketCreated")
    events = [e["params"] for e in events if e["method"] in wanted]
    return {e["request"]["url"] if "request" in e else e["url"] for e in events}


def captions(browser, name):
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)"
    return browser.execute_script(script, f"#{name} figcaption")


def sources(browser, name="dg-pictures"):
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.src)"
    return browser.execute_script(script, f"#{name} img")


def text(browser, name):
    return browser.find_element("id", name).text


def measured(browser, name, count):
    found = captions(browser, name)
    return len(found) == count and all("\u00b1" in one and "bits/dim" in one for one in found)


def test_a_turn_of_the_dial_changes_all_pictures_and_log_p_follows(page):
    from selenium.webdriver.common.keys import Keys

    wait(page, lambda: measured(page, "dg-pictures", 4))
    plain, told = sources(page), captions(page, "dg-pictures")
    assert text(page, "dg-line").startswith("q = 0.5, the plain model: log p measured")
    slider = page.find_element("css selector", "#dg-dial input[type=range]")
    slider.send_keys(Keys.ARROW_RIGHT * 15)
    wait(page, lambda: text(page, "dg-line").startswith("q = 0.65: log p measured"))
    assert all(one != other for one, other in zip(plain, sources(page), strict=True))
    assert measured(page, "dg-pictures", 4)
    assert all(one != other for one, other in zip(told, captions(page, "dg-pictures"), strict=True))
    page.find_element("id", "dg-other").click()
    turned = sources(page)
    wait(page, lambda: len(sources(page)) == 4 and not set(turned) & set(sources(page)))


def test_your_own_picture(page, tmp_path):
    rows = np.linspace(0, 255, 20)[:, None, None] * np.ones((1, 30, 3))
    Image.fromarray(rows.astype(np.uint8)).save(tmp_path / "mine.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    tabs = page.find_elements("css selector", "button[role=tab]")
    next(tab for tab in tabs if tab.text == "Your picture").click()
    wait(page, lambda: "Choose a picture" in text(page, "dg-own-line"))
    chosen = page.find_element("css selector", "#dg-file input[type=file]")
    chosen.send_keys(str(tmp_path / "mine.png"))
    wait(page, lambda: measured(page, "dg-own", 2))
    wait(page, lambda: "of the model's own" in text(page, "dg-own-line"))
    assert len(sources(page, "dg-own")) == 2
    assert "30 x 20 pixels" in text(page, "dg-own-line")
    assert "of which the solver alone" in text(page, "dg-own-line")
    page.find_element("css selector", "#dg-file button[aria-label='Clear']").click()
    wait(page, lambda: "Choose a picture" in text(page, "dg-own-line"))
    chosen = page.find_element("css selector", "#dg-file input[type=file]")
    chosen.send_keys(str(tmp_path / "broken.png"))
    wait(page, lambda: "broken.png cannot be decoded" in text(page, "dg-own-line"))


@pytest.mark.parametrize(("pixels", "columns"), [(400, 2), (1400, 4)])
def test_the_page_keeps_to_its_width(page, pixels, columns):
    width(page, pixels)
    wait(page, lambda: len(sources(page)) == 4)
    assert page.execute_script("return document.documentElement.scrollWidth") <= pixels
    script = """return [...document.querySelectorAll("#dg-pictures figure")].map(
        (one) => { const box = one.getBoundingClientRect(); return [box.left, box.right]; })"""
    boxes = np.asarray(page.execute_script(script))
    assert len(np.unique(np.round(boxes[:, 0]))) == columns
    assert boxes.min() >= 0
    assert boxes.max() <= pixels
