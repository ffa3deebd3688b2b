"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables: sorted by a button in each heading, filtered by the words of a search box.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const value = cell.dataset.v;
    if (value === undefined) return cell.textContent.trim();
    return value === "" ? null : Number(value);
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  const sort = (table, heading) => {
    const column = heading.cellIndex;
    const direction = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
    all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
    rows.sort(([a], [b]) => {
      // What has no value stays at the end in both directions.
      if (a === null || b === null) return (a === null) - (b === null);
      return direction * compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
  };
  all("table").forEach((table) => {
    all("th[aria-sort]", table).forEach((heading) => {
      heading.querySelector("button").addEventListener("click", () => sort(table, heading));
    });
  });
  all(".tools[data-table]").forEach((tools) => {
    const table = document.getElementById(tools.dataset.table);
    const input = tools.querySelector("input");
    const status = tools.querySelector("[role=status]");
    const rows = [...table.tBodies[0].rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    tools.hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach((row, index) => {
        row.hidden = !words.every((word) => texts[index].includes(word));
        count += row.hidden ? 0 : 1;
      });
      status.textContent = words.length
        ? `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`
        : "";
    });
  });

  // Charts: what a point is, on hovering, on touch, and by arrow keys once a chart has the focus.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  let lit = null;
  const hide = () => {
    tip.hidden = true;
    if (lit) lit.classList.remove("lit");
    lit = null;
  };
  const show = (mark) => {
    hide();
    lit = mark;
    mark.classList.add("lit");
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const at = mark.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.min(Math.max(8, at.left + at.width / 2 - tip.offsetWidth / 2), width - tip.offsetWidth - 8);
    const above = at.top - tip.offsetHeight - 8;
    tip.style.left = `${Math.max(0, left) + scrollX}px`;
    tip.style.top = `${(above > 4 ? above : at.bottom + 8) + scrollY}px`;
  };
  all("svg[data-marks]").forEach((svg) => {
    const marks = all("[data-tip]", svg);
    marks.forEach((mark) => {
      // The title is for readers without scripts; with them it would be a second tip.
      const title = mark.querySelector("title");
      if (title) title.remove();
    });
    if (!marks.length) return;
    let index = -1;
    svg.addEventListener("pointerover", (event) => {
      const mark = event.target.closest("[data-tip]");
      if (mark) show(mark);
    });
    svg.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") hide();
    });
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      index = (index + step + marks.length) % marks.length;
      show(marks[index]);
    });
  });

  // The legend of families: a pressed button dims all other families.
  all("[data-legend]").forEach((legend) => {
    const buttons = all("button", legend);
    const marks = all("[data-family]", document.getElementById(legend.dataset.legend));
    buttons.forEach((button) => {
      button.addEventListener("click", () => {
        const pressed = button.getAttribute("aria-pressed") !== "true";
        buttons.forEach((other) => other.setAttribute("aria-pressed", "false"));
        button.setAttribute("aria-pressed", String(pressed));
        marks.forEach((mark) => {
          mark.classList.toggle("dim", pressed && mark.dataset.family !== button.dataset.of);
        });
      });
    });
  });
})();
