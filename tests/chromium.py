"""Pages of a report in a real Chromium, opened from disk: nothing may be complained of, or asked from a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SWITCHES = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-gpu-compositing",
)
"""WebGL on the processor, the page itself drawn without it: for machines without a GPU or user namespaces."""
PATIENCE = 60.0
"""Longest wait for anything but what is timed, on a machine that others use too [s]."""
STAMP = """addEventListener("DOMContentLoaded", () => requestAnimationFrame(() =>
    setTimeout(() => { window.painted = performance.now(); })))"""
"""Notes when the frame is painted that shows what the page builds when it is read."""
SIZES = {"desk": (1280, 900), "phone": (390, 844)}


@contextmanager
def launched() -> Iterator[Any]:
    """Chromium: the one that SCENEGEN_CHROMIUM names, Playwright's own, or one of the system; skips without any."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install '.[test]'")
    named = os.environ.get("SCENEGEN_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = named or (own if Path(own).exists() else shutil.which("chromium") or shutil.which("google-chrome"))
        if not path:
            pytest.skip(
                "no Chromium: 'playwright install --with-deps chromium' installs one, SCENEGEN_CHROMIUM names another"
            )
        opened = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        yield opened
        opened.close()


@contextmanager
def opened_pages(browser: Any, report: Path) -> Iterator[Callable[..., Any]]:
    """Open pages of a report; in the end nothing may have been complained of or asked from a network."""
    contexts, wrong = [], []

    def open_one(address: str = "index.html", *, size: str = "desk", scheme: str = "light") -> Any:
        width, height = SIZES[size]
        viewport = {"width": width, "height": height}
        context = browser.new_context(viewport=viewport, color_scheme=scheme, has_touch=size == "phone")
        contexts.append(context)
        context.set_default_timeout(1000 * PATIENCE)
        context.add_init_script(STAMP)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request", lambda one: None if one.url.startswith(("file:", "data:", "blob:")) else wrong.append(one.url)
        )
        page.goto(f"file://{report}/{address}")
        page.wait_for_selector("tr[data-id]" if address.startswith("index") else ".badge")
        return page

    yield open_one
    for context in contexts:
        context.close()
    # Drivers of software renderers note how slow they read pixels back; that is about the test's pictures.
    assert not [text for text in wrong if "GPU stall" not in text]


def wait_until(page, expression: str, *, seconds: float = PATIENCE) -> Any:
    """Return a value of the page once it is true; the page's policy forbids what Playwright's own waiting does."""
    for _ in range(int(seconds / 0.05)):
        value = page.evaluate(expression)
        if value:
            return value
        page.wait_for_timeout(50)
    raise AssertionError(f"not within {seconds:g} s: {expression}")


def keep(page, name: str, *, full: bool = False) -> None:
    """Save a screenshot where SCENEGEN_SCREENSHOTS says, for a person to look at."""
    folder = os.environ.get("SCENEGEN_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=full)
