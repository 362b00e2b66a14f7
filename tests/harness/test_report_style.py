from __future__ import annotations

import plotly.graph_objects as go
import pytest
from report_sample import METHODS

from harness.report import style
from harness.report.style import DARK, LIGHT, Look
from harness.sweep import catalogue

BUILT_IN = [(name, name, family) for name, (family, *_) in METHODS.items()]
NEW = ("eventprop", "eventprop", "adjoint")


def signs(look: Look) -> tuple[str, str, str]:
    return look.colour, look.symbol, look.dash


def test_every_method_has_its_own_signs() -> None:
    many = [*BUILT_IN, *((f"m{i}", f"m{i}", f"family{i % 7}") for i in range(60))]
    looks = style.looks(many)
    assert len({signs(look) for look in looks.values()}) == len(many)


def test_built_in_methods_differ_in_colour_alone_and_in_marker_alone() -> None:
    looks = style.looks(BUILT_IN).values()
    assert len({look.colour for look in looks}) == len(BUILT_IN)
    assert len({look.symbol for look in looks}) == len(BUILT_IN)


def test_a_method_never_seen_before_gets_a_marker_that_no_built_in_method_has() -> None:
    looks = style.looks([*BUILT_IN, NEW])
    known = {look.symbol for name, look in looks.items() if name in METHODS}
    assert looks["eventprop"].symbol not in known


def test_the_methods_of_a_family_share_its_colours_and_no_two_share_a_marker() -> None:
    more = [("tbptt", "exact"), ("sltt_k", "online"), ("ottt_o", "online"), ("mine", "online")]
    looks = style.looks([*BUILT_IN, *((name, name, family) for name, family in more)])
    assert {looks[name].colour for name in ("bptt_m", "bptt_s")} >= {looks["tbptt"].colour}
    assert len({look.symbol for look in looks.values()}) == len(looks)


def test_signs_do_not_depend_on_the_company() -> None:
    alone = style.looks([NEW])["eventprop"]
    assert style.looks([*BUILT_IN, NEW])["eventprop"] == alone
    assert style.looks(BUILT_IN[:1])["bptt_m"] == style.looks(BUILT_IN)["bptt_m"]


@pytest.fixture(scope="module")
def offered() -> list[tuple[str, str, str]]:
    """Every method of the library."""
    methods = catalogue.load().methods.values()
    return [(method.name, method.name, method.family) for method in methods]


def test_the_signs_of_every_method_of_the_library_are_its_own_and_stay(
    offered: list[tuple[str, str, str]],
) -> None:
    whole = style.looks([*offered, NEW])
    assert len({signs(look)[:2] for look in whole.values()}) == len(offered) + 1
    for method in (*offered, NEW):
        assert style.looks([method])[method[0]] == whole[method[0]]
        assert style.looks([method, *BUILT_IN])[method[0]] == whole[method[0]]
    assert signs(whole["ostl"])[1:] == ("pentagon", "longdash")


def test_a_marker_occurs_once_in_a_colour(offered: list[tuple[str, str, str]]) -> None:
    found = [signs(look)[:2] for look in style.looks(offered).values()]
    assert len(found) == len(set(found))


def test_options_keep_the_colour_of_their_method_and_change_the_marker() -> None:
    looks = style.looks([*BUILT_IN, ("ottt_a(placement=published)", "ottt_a", "online")])
    plain, published = looks["ottt_a"], looks["ottt_a(placement=published)"]
    assert plain.colour == published.colour
    assert plain.symbol != published.symbol


@pytest.mark.parametrize("colour", style.PALETTE)
def test_colours_stand_out_in_both_themes(colour: str) -> None:
    for theme in (LIGHT, DARK):
        shade = style.legible(colour, theme["card"])
        assert style.contrast(shade, theme["card"]) >= style.MIN_CONTRAST


def test_a_colour_that_stands_out_already_is_kept() -> None:
    assert style.legible(style.BLUE, "#ffffff") == style.BLUE


def test_contrast_of_black_on_white_and_of_equals() -> None:
    assert style.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert style.contrast("#777777", "#777777") == pytest.approx(1)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("role", ["ink", "muted", "accent", "alarm"])
def test_text_is_legible(theme: dict[str, str], role: str) -> None:
    assert style.contrast(theme[role], theme["card"]) >= 4.5
    assert style.contrast(theme[role], theme["page"]) >= 4.5


@pytest.mark.parametrize("phase", style.PHASES, ids=lambda phase: phase.key)
def test_phases_stand_out_in_both_themes(phase: style.Phase) -> None:
    assert style.contrast(phase.colour, LIGHT["card"]) >= style.MIN_CONTRAST
    assert style.contrast(phase.dark, DARK["card"]) >= style.MIN_CONTRAST


def test_every_light_colour_has_one_dark_counterpart() -> None:
    looks = list(style.looks([*BUILT_IN, NEW]).values())
    pairs = {(LIGHT[role], DARK[role]) for role in LIGHT}
    pairs |= {(item.colour, item.dark) for item in (*looks, *style.PHASES)}
    assert dict(pairs) == style.dark_of(looks)
    assert len(pairs) == len(dict(pairs))


def test_plotly_knows_every_marker_and_its_open_form() -> None:
    for symbol in style.SYMBOLS:
        for name in (symbol, f"{symbol}-open"):
            assert go.Scatter(marker={"symbol": name}).marker.symbol == name
