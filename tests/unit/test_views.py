"""The templates of the pages."""

from sekring.console.assets import AssetBook
from sekring.console.views import Views


def test_every_template_can_be_compiled() -> None:
    environment = Views(AssetBook())._environment

    names = environment.list_templates()
    assert "fleet.html" in names
    for name in names:
        environment.get_template(name)
