"""What a person does in a browser, and what the browser complains about."""

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import ConsoleMessage, Page

__all__ = ["Faults", "log_in", "serious_violations"]

#: What axe-core calls grave enough to keep somebody from using a page.
_SERIOUS = frozenset({"serious", "critical"})

#: Chromium's advice on forms, which is no fault.
_ADVICE = frozenset({"debug", "log"})


def log_in(page: Page, token: str) -> None:
    """Fill in the login page that is shown."""
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Log in").click()


def serious_violations(page: Page) -> list[str]:
    """Return what axe-core finds on the page as it is shown now."""
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found
        if violation["impact"] in _SERIOUS
        for node in violation["nodes"]
    ]


class Faults:
    """Errors and warnings in a tab's console, exceptions of its scripts, and files not loaded.

    A violation of the content security policy is an error in the console.
    """

    def __init__(self, page: Page) -> None:
        self.found: list[str] = []
        page.on("console", self._take)
        page.on("pageerror", lambda error: self.found.append(str(error)))

    def _take(self, message: ConsoleMessage) -> None:
        if message.type not in _ADVICE and "status of 4" not in message.text:
            self.found.append(message.text)
