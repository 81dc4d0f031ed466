"""The page of a report in Chromium: widths, text sizes, colours, keyboard."""

import re

import pytest
from handmade import install, make

from kdjax import report

pytestmark = pytest.mark.slow

WIDTHS = (1280, 768, 390)

# In CSS pixels, of any text of a figure on a telephone.
LEAST = 10

# The height of the letters of each visible text of a figure, and whether it
# lies within its figure.
TEXTS = """() => [...document.querySelectorAll("figure svg :is(text, tspan)")]
  .filter((it) => it.checkVisibility())
  .map((it) => {
    const scale = it.getScreenCTM();
    const size = parseFloat(getComputedStyle(it).fontSize);
    const [text, own] = [it, it.ownerSVGElement].map(
      (element) => element.getBoundingClientRect());
    return {
      words: it.textContent,
      size: size * Math.hypot(scale.a, scale.b),
      inside: text.left > own.left - 1 && text.right < own.right + 1,
    };
  })"""

# What is wider than the screen, but for what is in a box that scrolls.
WIDE = """() => [...document.body.querySelectorAll("*")]
  .filter((it) => it.checkVisibility() && !it.closest("svg, .scroll *"))
  .filter((it) => it.getBoundingClientRect().right > innerWidth + 0.5)
  .map((it) => it.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
  """The address of a report with all figures of a handmade run."""
  with pytest.MonkeyPatch.context() as patch:
    install(patch)
    folder = make(tmp_path_factory.mktemp("report") / "run")
    report.write(folder)
  return (folder / "report.html").as_uri()


@pytest.fixture
def opened(browser, address):
  """Opens the page at a width; after the test, nothing was written as error."""
  contexts, errors = [], []

  def at(width, scheme="light"):
    context = browser.new_context(
      viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    contexts.append(context)
    page = context.new_page()
    page.on("console", lambda it: errors.append(it.text))
    page.on("pageerror", lambda it: errors.append(f"{it}"))
    page.goto(address)
    return page

  yield at
  for context in contexts:
    context.close()
  assert not errors


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_are_legible_and_nothing_but_tables_is_wider(opened, width):
  page = opened(width)
  texts = page.evaluate(TEXTS)
  assert len(texts) > 50
  if width == min(WIDTHS):
    small = [it for it in texts if it["size"] < LEAST]
    assert not small
  assert not [it["words"] for it in texts if not it["inside"]]
  assert page.evaluate(WIDE) == []
  assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_table_that_scrolls_says_so_and_takes_the_focus(opened):
  page = opened(390)
  box = page.locator(".scroll").first
  assert box.evaluate("it => it.scrollWidth > it.clientWidth")
  assert box.get_attribute("tabindex") == "0"
  hint = box.locator("xpath=following-sibling::*[1]")
  assert hint.inner_text() == "Scroll the table sideways for more columns."
  box.focus()
  page.keyboard.press("ArrowRight")
  page.wait_for_function("document.querySelector('.scroll').scrollLeft > 0")
  page.set_viewport_size({"width": 1280, "height": 800})
  page.wait_for_function("document.querySelector('.scroll').tabIndex < 0")


def test_the_contents_lead_to_every_section(opened):
  page = opened(1280)
  links = page.locator("nav a").evaluate_all(
    "all => all.map((it) => [it.textContent, it.getAttribute('href')])"
  )
  sections = page.locator("section").evaluate_all(
    "all => all.map((it) => [it.querySelector('h2, summary').textContent,"
    " '#' + it.id])"
  )
  assert links == sections
  assert len({href for _, href in links}) == len(links) > 8


def test_a_link_to_a_folded_section_unfolds_it(opened):
  page = opened(1280)
  folded = page.locator("section:has(> details)").first
  name = folded.get_attribute("id")
  assert not folded.locator("table").first.is_visible()
  page.locator(f"nav a[href='#{name}']").click()
  folded.locator("table").first.wait_for(state="visible")


def column(page, number):
  rows = page.locator("table").first.locator("tbody tr")
  cells = rows.locator(f"td:nth-child({number})")
  return [it.strip() for it in cells.all_inner_texts()]


def test_columns_are_sorted_by_keyboard(opened):
  page = opened(1280)
  head = page.locator("table").first.locator("th")
  assert head.nth(1).get_attribute("aria-sort") == "none"
  head.nth(1).locator("button").focus()
  for key, order, names in (
    ("Enter", "descending", ["teacher", "distilled", "alone"]),
    ("Space", "ascending", ["alone", "distilled", "teacher"]),
  ):
    page.keyboard.press(key)
    assert head.nth(1).get_attribute("aria-sort") == order
    assert column(page, 1) == names
  page.keyboard.press("Shift+Tab")
  page.keyboard.press("Enter")
  assert head.nth(0).get_attribute("aria-sort") == "ascending"
  assert head.nth(1).get_attribute("aria-sort") == "none"
  assert column(page, 1) == sorted(names)


def colours(page):
  """The colours of the page and of the first words of a figure."""
  return page.evaluate(
    """() => [document.body, document.querySelector("figure svg text")]
      .map((it) => getComputedStyle(it))
      .flatMap((it) => [it.backgroundColor, it.fill])"""
  )


def test_the_colours_are_those_of_the_system_and_switch_by_keyboard(opened):
  light, dark = opened(768), opened(768, "dark")
  first, second = colours(light), colours(dark)
  assert first[0] != second[0]
  assert first[-1] != second[-1]
  for page, other in ((light, second), (dark, first)):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "theme"
    page.keyboard.press("Enter")
    assert colours(page) == other
  assert re.fullmatch("Light|Dark", light.locator("#theme").inner_text())
