"use strict";
// Draws the charts with Plotly when they come near the window, lets the legends hide and show series,
// sorts tables and copies code. Without this script the page has the same charts as SVG.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const data = JSON.parse(document.getElementById("charts").textContent);
  const style = () => getComputedStyle(root);
  const colour = (name) => style().getPropertyValue(`--${name}`).trim();

  function filled(trace) {
    const { tone, trials, shades, ...rest } = structuredClone(trace);
    const c = tone && colour(tone);
    if (rest.line) rest.line.color = c;
    if (rest.marker) Object.assign(rest.marker, { color: c, opacity: 0.8, line: { color: c, width: 1.5 } });
    if (trials) rest.text = trials.map((n) => (n === null ? "" : data.trials[n]));
    if (shades) rest.colorscale = shades.flatMap((s, i) => [[i / shades.length, colour(s)], [(i + 1) / shades.length, colour(s)]]);
    return rest;
  }

  function layoutOf(chart) {
    const axis = { gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false, showline: true };
    const layout = structuredClone(chart.layout);
    return {
      ...layout,
      xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
      showlegend: false, hovermode: "closest", dragmode: "zoom", margin: { l: 50, r: 14, t: 10, b: 44 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: colour("ink") },
      hoverlabel: { align: "left", bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") } },
      annotations: layout.annotations.map(({ tone, ...a }) => ({
        ...a, font: { color: colour(tone) }, borderpad: 1,
        bgcolor: tone === "ink" ? colour("paper") : "rgba(0,0,0,0)", // no line through a label
      })),
    };
  }

  const coarse = matchMedia("(pointer: coarse)").matches;
  const config = { displayModeBar: false, responsive: true, scrollZoom: false, staticPlot: false };

  function draw(figure) {
    const chart = data.charts[figure.dataset.chart];
    const plot = figure.querySelector(".plot");
    const shown = figure.shown ?? chart.traces.map((trace) => trace.visible !== false);
    const traces = chart.traces.map((trace, i) => ({ ...filled(trace), visible: shown[i] }));
    const layout = layoutOf(chart);
    if (coarse) layout.dragmode = false; // a finger scrolls the page
    figure.querySelector(".drawing").classList.add("drawn");
    Plotly.react(plot, traces, layout, config);
    figure.shown = shown;
  }

  function legend(figure) {
    const chart = data.charts[figure.dataset.chart];
    for (const item of figure.querySelectorAll(".legend span")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...item.childNodes);
      button.querySelector("small")?.remove();
      const at = Number(item.dataset.series);
      const set = (on) => button.setAttribute("aria-pressed", String(on));
      set(chart.traces[at].visible !== false);
      button.addEventListener("click", () => {
        if (!figure.shown) draw(figure);
        figure.shown[at] = !figure.shown[at];
        set(figure.shown[at]);
        draw(figure);
      });
      item.replaceWith(button);
    }
  }

  const figures = [...document.querySelectorAll("figure[data-chart]")];
  figures.forEach(legend);
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  figures.forEach((figure) => near.observe(figure));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    figures.filter((figure) => figure.shown).forEach(draw));

  const number = (cell) => parseFloat(cell.dataset.value ?? cell.textContent.replaceAll(",", ""));
  function compare(a, b) {
    const [x, y] = [number(a), number(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) {
      return Number.isNaN(x) - Number.isNaN(y) || a.textContent.localeCompare(b.textContent);
    }
    return x - y;
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => (up ? 1 : -1) * compare(a.cells[column], b.cells[column]));
        table.tBodies[0].append(...rows);
      });
    });
  }

  for (const code of document.querySelectorAll(".code")) {
    if (!navigator.clipboard) break;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${code.querySelector("span").textContent}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.querySelector("pre").textContent);
      button.textContent = "Copied";
    });
    code.firstElementChild.append(button);
  }
})();
