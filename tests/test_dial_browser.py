"""The page of the dial in a real browser: pixels, drag, keys, silence on console and network."""

import json
import re

import numpy as np
import pytest

from densityguide import plotting

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 8, 16, 12, 3), np.uint8)
LOG_P = RNG.normal(4000.0, 300.0, (5, 8))
LOG_P[4, 2] = np.nan


@pytest.fixture
def page(browser, tmp_path):
    """The page, open at 1400 pixels; at the end: no error was logged and nothing was asked for."""
    made = plotting.dial(
        IMAGES, (0.3, 0.4, 0.5, 0.6, 0.7), LOG_P, np.full((5, 8), 12.0), bits_per_dim=LOG_P / 999.0
    )
    width(browser, 1400)
    address = made.save(tmp_path / "dial.html").as_uri()
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(address)
    wait(browser, "return document.querySelector('.nats').textContent !== ''")
    yield browser
    assert browser.get_log("browser") == []
    assert requested(browser) == {address}


def wait(browser, script):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda b: b.execute_script(script))


def width(browser, pixels):
    size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def requested(browser):
    """Addresses that the page asked for, data that it holds itself left out."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [
        e["params"]["request"]["url"] for e in events if e["method"].startswith("Network.requestW")
    ]
    return {address for address in sent if not address.startswith("data:")}


def drawn(browser):
    """Pixels of all canvases [N, H, W, 3]."""
    # By way of a canvas that is made to be read: reading the page's own would be logged.
    script = """return [...document.querySelectorAll("canvas")].map((one) => {
        const copy = new OffscreenCanvas(one.width, one.height);
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(one, 0, 0);
        return [...pen.getImageData(0, 0, one.width, one.height).data];
    })"""
    pixels = np.asarray(browser.execute_script(script)).reshape(8, 16, 12, 4)
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :3]


def place(browser):
    """Where the dial stands, by the pictures; everything else agrees with them."""
    (found,) = [n for n, row in enumerate(IMAGES) if np.array_equal(row, drawn(browser))]
    script = """const at = (name) => document.getElementById(name), one = at("slider");
        return [one.value, one.getAttribute("aria-valuetext"), at("place").textContent,
                at("mean").textContent, at("marker").getAttribute("cx")]"""
    value, spoken, label, mean, marker = browser.execute_script(script)
    assert int(value) == found
    assert label == f"q {0.3 + 0.1 * found:.1g}"
    assert spoken.startswith(label)
    assert f"log p {np.nanmean(LOG_P[found]):,.0f} nats" in spoken
    assert f"log p {np.nanmean(LOG_P[found]):,.0f} nats" in mean
    assert marker == f"{25 * found}%"
    captions = [one.text for one in browser.find_elements("css selector", ".nats")]
    wanted = [f"{v:,.0f} \u00b1 12" if np.isfinite(v) else "failed" for v in LOG_P[found]]
    assert captions == wanted
    return found


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def test_arrow_keys_anywhere_move_all_pictures(page):
    from selenium.webdriver.common.keys import Keys

    assert place(page) == 2  # the plain model
    press(page, Keys.ARROW_RIGHT)
    assert place(page) == 3
    press(page, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert place(page) == 1
    press(page, *[Keys.ARROW_LEFT] * 4)
    assert place(page) == 0  # and no further
    # Said once the dial has come to rest.
    wait(page, "return document.getElementById('heard').textContent.startsWith('q 0.3')")


def test_the_slider_moves_by_itself_and_does_not_speak_twice(page):
    from selenium.webdriver.common.keys import Keys

    slider = page.find_element("id", "slider")
    assert slider.accessible_name == "Requested log-density"
    assert slider.aria_role == "slider"
    page.execute_script("arguments[0].focus()", slider)
    press(page, Keys.END)
    assert place(page) == 4
    press(page, Keys.ARROW_LEFT)
    assert place(page) == 3
    page.execute_async_script("setTimeout(arguments[0], 900)")
    assert page.find_element("id", "heard").get_attribute("textContent") == ""


@pytest.mark.parametrize("pixels", [400, 1400])
def test_a_drag_over_any_picture_moves_all(page, pixels):
    from selenium.webdriver.common.action_chains import ActionChains

    width(page, pixels)
    canvases = page.find_elements("css selector", "canvas")
    hand = ActionChains(page, duration=50)
    hand.move_to_element(canvases[1]).click_and_hold().move_by_offset(85, 3).perform()
    assert place(page) == 3
    ActionChains(page, duration=50).move_by_offset(-160, 0).release().perform()
    assert place(page) == 1
    ActionChains(page, duration=50).move_by_offset(40, 0).perform()  # let go: nothing moves
    assert place(page) == 1


@pytest.mark.parametrize(("pixels", "columns"), [(400, 4), (1400, 8)])
def test_it_fits_its_width(page, pixels, columns):
    width(page, pixels)
    assert page.execute_script("return document.documentElement.scrollWidth") <= pixels
    boxes = [one.rect for one in page.find_elements("css selector", "figure")]
    assert len({round(box["x"]) for box in boxes}) == columns
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= pixels for box in boxes)
    captions = page.execute_script(
        "return [...document.querySelectorAll('figcaption span')]"
        ".map((one) => one.scrollWidth - one.clientWidth)"
    )
    assert max(captions) <= 0  # nothing is cut off


def test_no_number_touches_a_dot(browser, tmp_path):
    log_p = 21000.0 + 9000.0 * np.linspace(0.0, 1.0, 11)[:, None] ** 0.5 * np.ones((1, 8))
    made = plotting.dial(
        np.repeat(IMAGES[:1], 11, 0), np.linspace(0.02, 0.98, 11).tolist(), log_p, 0.0 * log_p
    )
    width(browser, 400)
    browser.get(made.save(tmp_path / "many.html").as_uri())
    wait(browser, "return document.querySelector('.nats').textContent !== ''")
    script = """return [...document.querySelectorAll(arguments[0])].map((one) => {
        const box = one.getBoundingClientRect();
        return [box.left, box.top, box.right, box.bottom]; })"""
    texts = browser.execute_script(script, ".curve text")
    dots = browser.execute_script(script, ".curve .dot")
    assert len(dots) == 11
    for left, top, right, bottom in texts:
        for west, north, east, south in dots:
            assert west >= right or east <= left or north >= bottom - 2 or south <= top + 2


def test_failures_are_marked(page):
    from selenium.webdriver.common.keys import Keys

    assert page.find_elements("css selector", ".failed") == []
    press(page, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert place(page) == 4
    (figure,) = page.find_elements("css selector", ".failed")
    canvas = figure.find_element("css selector", "canvas")
    assert canvas.accessible_name == "Picture 3, failed"
    assert re.match("failed", figure.text)


def test_a_notebook_shows_it_in_a_frame_as_high_as_the_page(browser, tmp_path):
    made = plotting.dial(IMAGES, (0.3, 0.4, 0.5, 0.6, 0.7), LOG_P, np.full((5, 8), 12.0))
    outer = tmp_path / "notebook.html"
    outer.write_text(f"<!doctype html><title>x</title>{made._repr_html_()}", "utf-8")
    width(browser, 1000)
    browser.get(outer.as_uri())
    frame = browser.find_element("css selector", "iframe")
    browser.switch_to.frame(frame)
    wait(browser, "return document.querySelector('.nats').textContent !== ''")
    assert place(browser) == 2
    high = browser.execute_script("return document.body.getBoundingClientRect().height")
    browser.switch_to.default_content()
    assert abs(frame.rect["height"] - high) < 4
