"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // Tables are sorted by a click on a title; empty cells stay at the end.
  const keyOf = (row, place) => {
    const cell = row.cells[place];
    if (cell.dataset.key !== undefined) return Number(cell.dataset.key);
    return cell.textContent.trim() === "" ? null : cell.textContent.trim().toLowerCase();
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sortBy = (table, place, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, number) => ({ row, number, key: keyOf(row, place) }));
    rows.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.number - b.number;
      return direction * compare(a.key, b.key) || a.number - b.number;
    });
    rows.forEach(({ row }) => body.append(row));
  };
  all("table.data").forEach((table) => {
    if (table.tBodies[0].rows.length < 2) return;
    all("thead th", table).forEach((title, place) => {
      if (!title.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title.textContent;
      title.replaceChildren(button);
      button.addEventListener("click", () => {
        const falling = title.getAttribute("aria-sort") === "ascending"
          || (title.getAttribute("aria-sort") === null && title.classList.contains("n"));
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        title.setAttribute("aria-sort", falling ? "descending" : "ascending");
        sortBy(table, place, falling ? -1 : 1);
      });
    });
  });

  // What stands behind a tile or a point: on hover, touch and keyboard focus.
  const tip = document.getElementById("tip");
  let shown = null;
  const hide = () => {
    tip.hidden = true;
    if (shown) shown.removeAttribute("aria-describedby");
    shown = null;
  };
  const show = (element) => {
    if (shown && shown !== element) hide();
    shown = element;
    element.setAttribute("aria-describedby", "tip");
    const [first, ...rest] = element.dataset.tip.split("\n");
    const head = document.createElement("b");
    head.textContent = first;
    tip.replaceChildren(head, ...rest.map((line) => {
      const paragraph = document.createElement("span");
      paragraph.textContent = line;
      return paragraph;
    }));
    tip.hidden = false;
    const box = element.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const above = box.top - size.height - 8;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above >= 8 ? above : Math.min(box.bottom + 8, innerHeight - size.height - 8)}px`;
  };
  const target = (event) => (event.target instanceof Element ? event.target.closest("[data-tip]") : null);
  document.addEventListener("pointerover", (event) => {
    const element = target(event);
    if (element && element.dataset.tip) show(element);
    else if (shown && document.activeElement !== shown) hide();
  });
  document.addEventListener("focusin", (event) => (target(event) ? show(target(event)) : hide()));
  document.addEventListener("click", (event) => (target(event) && target(event).dataset.tip ? show(target(event)) : hide()));
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("scroll", () => shown && document.activeElement !== shown && hide(), { capture: true, passive: true });

  // One stop for the tab key in a heat map; arrows go from tile to tile.
  all("table.heat").forEach((table) => {
    const rows = [...table.rows].map((row) => all("td[data-tip]", row)).filter((row) => row.length);
    if (!rows.length) return;
    rows[0][0].tabIndex = 0;
    table.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      const row = rows.findIndex((cells) => cells.includes(event.target));
      if (!move || row < 0) return;
      const next = rows[Math.min(Math.max(row + move[0], 0), rows.length - 1)];
      const cell = next[Math.min(Math.max(rows[row].indexOf(event.target) + move[1], 0), next.length - 1)];
      event.target.tabIndex = -1;
      cell.tabIndex = 0;
      cell.focus();
      event.preventDefault();
    });
  });

  // Commands are copied by a button where the browser lets a page do so.
  if (navigator.clipboard) {
    all(".command").forEach((line) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.setAttribute("aria-label", "Copy the command");
      button.addEventListener("click", () => navigator.clipboard.writeText(line.querySelector("code").textContent.trim())
        .then(() => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); })
        .catch(() => { button.textContent = "Not allowed"; }));
      line.append(button);
    });
  }

  // Light, dark, or as the system says.
  const theme = document.getElementById("theme");
  const themes = ["automatic", "light", "dark"];
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const now = themes[(themes.indexOf(document.documentElement.dataset.theme || "automatic") + 1) % 3];
    if (now === "automatic") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    theme.textContent = `Theme: ${now}`;
  });

  // On paper everything is open.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((each) => { each.open = false; }));
})();
