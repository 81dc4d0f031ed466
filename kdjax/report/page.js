"use strict";

// A button for the other colours, light or dark.
const root = document.documentElement;
const theme = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () =>
  root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
const nameOther = () => {
  theme.textContent = isDark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", `${theme.textContent} colours`);
};
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameOther();
});
system.addEventListener("change", nameOther);
nameOther();
theme.hidden = false;

// A link to a folded section unfolds it.
const unfold = () => {
  const name = decodeURIComponent(location.hash.slice(1));
  const section = name && document.getElementById(name);
  const details = section && section.querySelector(":scope > details");
  if (details) details.open = true;
};
addEventListener("hashchange", unfold);
unfold();

// A button in the head of each column sorts the rows by it.
const numberIn = (text) => {
  const found = text.replaceAll(",", "").match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i);
  return found ? Number(found[0]) : NaN;
};
const compare = (column, numbers, sign) => (one, other) => {
  const texts = [one, other].map((row) => row.cells[column].textContent.trim());
  if (!numbers) return sign * texts[0].localeCompare(texts[1]);
  const [a, b] = texts.map(numberIn);
  // Cells without a number are last in both directions.
  if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);
  return sign * (a - b);
};
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    const numbers = head.classList.contains("number");
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const first = numbers ? "descending" : "ascending";
      const second = numbers ? "ascending" : "descending";
      const next = now === first ? second : first;
      for (const it of heads) it.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      body.append(...[...body.rows].sort(compare(column, numbers, sign)));
    });
  });
}

// A table that is wider than its box is scrolled, by keyboard too.
const mark = (box) => {
  const scrolls = box.scrollWidth > box.clientWidth + 1;
  const hint = box.nextElementSibling?.classList.contains("hint")
    ? box.nextElementSibling
    : null;
  if (scrolls) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
  if (scrolls && !hint) {
    const line = document.createElement("p");
    line.className = "hint";
    line.textContent = "Scroll the table sideways for more columns.";
    box.after(line);
  } else if (!scrolls) hint?.remove();
};
const sizes = new ResizeObserver((found) => found.forEach((it) => mark(it.target)));
for (const box of document.querySelectorAll(".scroll")) sizes.observe(box);
