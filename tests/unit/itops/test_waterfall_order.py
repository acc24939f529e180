"""A stored quote's paper shows the premium as it is built, whatever order the database gives its keys in."""

from itops.pdf import in_order


def test_the_waterfall_begins_with_the_expected_loss_and_ends_with_the_technical_premium() -> None:
    stored = {"profit": 1.0, "risk_load": 2.0, "acquisition": 3.0, "expected_loss": 4.0, "technical_premium": 10.0}
    assert [name for name, _ in in_order(stored)] == [
        "expected_loss", "risk_load", "acquisition", "profit", "technical_premium",
    ]  # fmt: skip
