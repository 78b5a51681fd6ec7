"use strict";
// Draws what squeeze_onnx/report/charts.py prepared. Strings from a model reach the page as text nodes or SVG text only.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const PAPER_WIDTH = 660; // CSS pixels of an A4 page between its margins
  const drawn = new Map(); // the element of a chart → { chart, spec }
  let printing = false;

  // At `flip` the ramp is as dark as black text and as bright as white text can bear: 4.6:1 for both.
  const LIGHT = {
    text: "#1b2430", faint: "#566273", grid: "#dfe4ea", surface: "#ffffff",
    bars: "#2f6fdb", other: "#c2410c", noise: "#c2410c", edge: "#7a3e00", mark: "#0b6b50",
    ramp: ["#eef3fc", "#a9c5f5", "#4f8be8", "#1d4fa8", "#0d2b63"], onLow: "#000000", onHigh: "#ffffff", flip: 0.60,
  };
  const DARK = {
    text: "#e6eaf0", faint: "#a3afbf", grid: "#303945", surface: "#171c23",
    bars: "#6ea3f7", other: "#f0995c", noise: "#f0995c", edge: "#ffc78a", mark: "#5fd3b0",
    ramp: ["#1c2636", "#22457d", "#2f6fdb", "#7fb0ff", "#dbe8ff"], onLow: "#ffffff", onHigh: "#000000", flip: 0.51,
  };
  const palette = () => (dark.matches && !printing && !paper.matches ? DARK : LIGHT);
  const number = (value) => String(Number(value.toPrecision(4)));
  const percent = (share) => `${Math.round(100 * share)} %`;

  /** A tooltip of plain text lines: an element, never markup. */
  function lines(...texts) {
    const box = document.createElement("div");
    for (const text of texts) box.append(Object.assign(document.createElement("div"), { textContent: text }));
    return box;
  }

  // Labels and names of the axes lie within the margins, too.
  const GRID = { outerBoundsMode: "same", outerBoundsContain: "all" };
  const axis = (ink, name, more = {}) => ({
    type: "value", name, nameLocation: "middle", nameTextStyle: { color: ink.faint },
    axisLabel: { color: ink.faint, hideOverlap: true }, axisLine: { lineStyle: { color: ink.faint } },
    splitLine: { lineStyle: { color: ink.grid } }, ...more,
  });
  const tooltip = (ink, formatter, more = {}) => ({
    formatter, confine: true, backgroundColor: ink.surface, borderColor: ink.grid, textStyle: { color: ink.text }, ...more,
  });
  const legend = (ink) => ({ top: 0, left: 0, textStyle: { color: ink.text }, icon: "roundRect" });
  const line = (ink, name, at, along, more = {}) => ({
    [along]: at, name, lineStyle: { color: more.color ?? ink.mark, type: more.type ?? "solid", width: 2 },
    label: {
      formatter: "{b}", color: more.color ?? ink.mark, backgroundColor: ink.surface, padding: [1, 4], rotate: 0, ...more.label,
    },
  });
  const marks = (found) => ({ symbol: "none", silent: true, animation: false, data: found });

  /** An error bar for each [x, y, low, high] of a custom series; `along` is the axis that the interval lies on. */
  function intervals(points, along, color) {
    const ends = ([x, y, low, high]) => (along === "x" ? [[low, y], [high, y]] : [[x, low], [x, high]]);
    return {
      type: "custom", silent: true, z: 1, data: points, encode: { x: along === "x" ? [2, 3] : 0, y: along === "x" ? 1 : [2, 3] },
      renderItem: (_, api) => {
        const [a, b] = ends([0, 1, 2, 3].map((index) => api.value(index))).map((end) => api.coord(end));
        const [dx, dy] = along === "x" ? [0, 5] : [5, 0];
        const bar = (from, to) => ({
          type: "line", shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }, style: { stroke: color, lineWidth: 2 },
        });
        const cap = (end) => bar([end[0] - dx, end[1] - dy], [end[0] + dx, end[1] + dy]);
        return { type: "group", children: [bar(a, b), cap(a), cap(b)] };
      },
    };
  }

  const makers = {
    map(spec, ink, width) {
      const wide = width / spec.roles.length > 100;
      const cells = spec.cells.map(({ place, share, label, site }) => ({
        value: [...place, share], cell: { share, label, site },
        label: { color: share / spec.top > ink.flip ? ink.onHigh : ink.onLow },
      }));
      const text = ({ data: { cell } }) => (wide ? `${percent(cell.share)} · ${cell.label}` : percent(cell.share));
      return {
        grid: { left: 4, right: 4, top: 4, bottom: 52, ...GRID },
        tooltip: tooltip(ink, ({ data: { cell, value } }) => lines(
          `${spec.layers[value[1]]}, ${spec.roles[value[0]]}`, `${percent(cell.share)} ${spec.what}`, cell.label,
        )),
        xAxis: {
          type: "category", data: spec.roles, position: "top", axisLine: { show: false }, axisTick: { show: false },
          axisLabel: { color: ink.text, interval: 0, rotate: width < 560 ? 45 : 0 },
        },
        yAxis: {
          type: "category", data: spec.layers, inverse: true, axisLine: { show: false }, axisTick: { show: false },
          axisLabel: { color: ink.text },
        },
        visualMap: {
          min: 0, max: spec.top, orient: "horizontal", left: "center", bottom: 0, itemHeight: 140, text: [percent(spec.top), "0 %"],
          textStyle: { color: ink.faint }, inRange: { color: ink.ramp }, hoverLink: false,
        },
        series: [{
          type: "heatmap", data: cells, label: { show: true, formatter: text, fontSize: 11 }, cursor: "pointer",
          itemStyle: { borderColor: ink.surface, borderWidth: 2, borderRadius: 4 },
          emphasis: { itemStyle: { borderColor: ink.mark, borderWidth: 3 } },
        }],
      };
    },

    frontier(spec, ink) {
      const colors = [ink.bars, ink.other];
      const value = (point) => ({ value: [point.x, point.y], point });
      const drawnPoints = spec.series.flatMap(({ name, line: joined, points }, index) => [
        {
          type: joined ? "line" : "scatter", name, data: points.map(value), symbol: "circle", symbolSize: 8,
          itemStyle: { color: colors[index] }, lineStyle: { color: colors[index], width: 2 },
          markLine: index || spec.limit === null ? undefined : marks([
            line(ink, `allowed: ${number(spec.limit)}`, spec.limit, "yAxis", { color: ink.edge, type: "dashed", label: { position: "insideStartTop" } }),
          ]),
        },
        intervals(points.filter((point) => point.interval).map(({ x, y, interval }) => [x, y, ...interval]), "y", colors[index]),
      ]);
      const chosen = {
        type: "scatter", name: "chosen", data: spec.chosen.map(value), symbol: "diamond", symbolSize: 20, z: 5,
        itemStyle: { color: ink.mark, borderColor: ink.surface, borderWidth: 2 },
      };
      return {
        grid: { left: 8, right: 16, top: 36, bottom: 4, ...GRID }, legend: legend(ink),
        tooltip: tooltip(ink, ({ seriesName, data: { point } }) => lines(
          `${seriesName}: ${point.label}`, `${number(point.x)} ${spec.x}`, `${spec.y}: ${number(point.y)}`,
          ...(point.interval ? [`95 %: ${point.interval.map(number).join(" … ")}`] : []),
        )),
        xAxis: axis(ink, spec.x, { scale: true }), yAxis: axis(ink, spec.y, { scale: spec.limit !== null }),
        series: [...drawnPoints, chosen],
      };
    },

    drops(spec, ink) {
      const rows = spec.rows.map(({ value, interval }, index) => [value, index, ...interval]);
      const limits = spec.limit === null ? [] : [
        line(ink, `allowed: ${number(spec.limit)}`, spec.limit, "xAxis", { color: ink.edge, type: "dashed", label: { position: "start", align: "left" } }),
      ];
      return {
        grid: { left: 8, right: 24, top: 28, bottom: 4, ...GRID },
        tooltip: tooltip(ink, ({ value: [drop, row, low, high] }) => lines(
          spec.rows[row].name, `${number(drop)} ${spec.unit}`, `95 %: ${number(low)} … ${number(high)}`,
        )),
        xAxis: axis(ink, spec.x),
        yAxis: { type: "category", data: spec.rows.map(({ name }) => name), inverse: true, axisLabel: { color: ink.text } },
        series: [
          {
            type: "scatter", data: rows, symbolSize: 13, itemStyle: { color: ink.bars }, z: 3,
            markLine: marks([line(ink, "no change", 0, "xAxis", { color: ink.faint, label: { position: "start", align: "right" } }), ...limits]),
          },
          intervals(rows, "x", ink.bars),
        ],
      };
    },

    bars(spec, ink, width) {
      const colors = [ink.bars, ink.other];
      return {
        grid: { left: 8, right: 12, top: spec.series.length > 1 ? 36 : 12, bottom: 8, ...GRID },
        legend: spec.series.length > 1 ? legend(ink) : undefined,
        tooltip: tooltip(ink, ({ seriesName, name, value }) => lines(name, `${seriesName}: ${number(value)}`)),
        xAxis: {
          type: "category", data: spec.groups,
          axisLabel: { color: ink.faint, interval: 0, rotate: width / spec.groups.length < 110 ? 40 : 0 },
        },
        yAxis: axis(ink, spec.y),
        series: spec.series.map(({ name, values }, index) => ({
          type: "bar", name, data: values, itemStyle: { color: colors[index], borderRadius: [3, 3, 0, 0] }, barMaxWidth: 56,
        })),
      };
    },

    histogram(site, ink) {
      const { bin_width: wide, counts, expected, beyond } = site.histogram;
      const middle = (index) => (index + 0.5) * wide;
      const bars = counts.map((count, index) => [middle(index), count, index]);
      const law = expected.map((count, index) => [middle(index), count]).concat(expected.length ? [[expected.length * wide, 0]] : []);
      const last = Math.max(counts.length * wide, site.edge * 1.05);
      const label = (at, distance) => ({ position: "end", distance, align: at < last / 2 ? "left" : "right" });
      const found = [
        line(ink, "Tracy–Widom edge", site.edge, "xAxis", { color: ink.edge, type: "dashed", label: label(site.edge, 3) }),
        ...site.marks.map(({ name, at }) => line(ink, name, at, "xAxis", { label: label(at, 19) })),
      ];
      const more = beyond ? ` (${beyond} larger, up to ${number(site.histogram.largest)}, not drawn)` : "";
      return {
        grid: { left: 8, right: 12, top: 68, bottom: 4, ...GRID }, legend: legend(ink),
        tooltip: tooltip(ink, ({ seriesName, value: [x, count] }) => lines(
          `${seriesName}: ${number(count)}`, `singular values from ${number(x - wide / 2)} to ${number(x + wide / 2)}`,
        )),
        xAxis: axis(ink, `singular value of the standardized weight${more}`, { min: 0, max: Math.ceil(last), splitLine: { show: false } }),
        yAxis: axis(ink, "how many"),
        series: [
          {
            type: "custom", name: "this weight", data: bars, itemStyle: { color: ink.bars }, encode: { x: 0, y: 1 },
            markLine: marks(found),
            renderItem: (_, api) => {
              const [x, y] = api.coord([api.value(0), api.value(1)]);
              const [width, height] = api.size([wide, api.value(1)]);
              return { type: "rect", shape: { x: x - width / 2, y, width: Math.max(width - 1, 1), height }, style: { fill: ink.bars } };
            },
          },
          {
            type: "line", name: "pure noise (Marchenko–Pastur)", data: law, showSymbol: false, smooth: 0.2,
            itemStyle: { color: ink.noise }, lineStyle: { color: ink.noise, width: 3 },
          },
        ],
      };
    },

    curve({ points, rank, method }, ink) {
      const found = rank === null ? [] : [line(ink, `rank ${rank}`, rank, "xAxis", { label: { position: "end" } })];
      return {
        grid: { left: 8, right: 16, top: 24, bottom: 4, ...GRID },
        tooltip: tooltip(ink, ([{ value: [at, energy] }]) => lines(`rank ${at}`, `${(100 * energy).toFixed(1)} % of the energy`), { trigger: "axis" }),
        xAxis: axis(ink, `rank, as ${method} sees the weight`, { splitLine: { show: false } }),
        yAxis: axis(ink, "energy kept", { min: 0, max: 1, axisLabel: { color: ink.faint, formatter: percent } }),
        series: [{
          type: "line", data: points, symbolSize: 5, showSymbol: false, itemStyle: { color: ink.bars }, lineStyle: { color: ink.bars, width: 3 },
          areaStyle: { color: ink.bars, opacity: 0.15 }, markLine: marks(found),
        }],
      };
    },
  };

  function draw(element, spec) {
    const width = printing ? Math.min(PAPER_WIDTH, element.clientWidth || PAPER_WIDTH) : element.clientWidth;
    let entry = drawn.get(element);
    if (!entry) {
      entry = { chart: echarts.init(element, null, { renderer: "svg", width }) };
      drawn.set(element, entry);
      if (spec.kind === "map") entry.chart.on("click", ({ data: { cell } }) => open(cell.site, true));
    }
    entry.spec = spec;
    entry.chart.resize({ width });
    const ink = palette();
    entry.chart.setOption(
      { animation: false, textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: ink.text }, ...makers[spec.kind](spec, ink, width) },
      { notMerge: true },
    );
  }

  const redraw = () => drawn.forEach(({ spec }, element) => draw(element, spec));

  // ——— one site at a time ———

  const panel = document.getElementById("site");
  const choice = document.getElementById("site-choice");

  function open(index, scroll = false) {
    const site = data.sites[index];
    choice.value = String(index);
    panel.querySelector("h3").textContent = site.name;
    const facts = site.facts.map(([name, value]) => {
      const fact = document.createElement("div");
      fact.append(
        Object.assign(document.createElement("dt"), { textContent: name }),
        Object.assign(document.createElement("dd"), { textContent: value }),
      );
      return fact;
    });
    panel.querySelector("dl").replaceChildren(...facts);
    const histogram = panel.querySelector('[data-part="histogram"]');
    histogram.setAttribute("aria-label", `Histogram of the singular values of ${site.name}: ${site.facts[2][1]} above the Tracy–Widom edge`);
    draw(histogram, { kind: "histogram", ...site });
    const curve = panel.querySelector('[data-part="curve"]');
    if (curve) {
      curve.setAttribute("aria-label", `Energy kept against rank for ${site.name}`);
      draw(curve, { kind: "curve", ...site.curve });
    }
    for (const button of document.querySelectorAll("button[data-site]")) {
      button.setAttribute("aria-pressed", String(button.dataset.site === String(index)));
    }
    if (scroll) {
      panel.scrollIntoView({ block: "start" });
      panel.focus({ preventScroll: true });
    }
  }

  function step(by) {
    open((Number(choice.value) + by + data.sites.length) % data.sites.length);
  }

  document.documentElement.classList.add("scripted");
  for (const element of document.querySelectorAll("[data-chart]")) {
    const spec = data.charts[element.dataset.chart];
    if (spec.kind === "map") element.style.height = `${spec.layers.length * 34 + 130}px`;
    if (spec.kind === "drops") element.style.height = `${spec.rows.length * 44 + 90}px`;
    draw(element, spec);
  }
  if (panel) {
    choice.append(...data.sites.map(({ name }, index) => new Option(name, String(index))));
    choice.addEventListener("change", () => open(Number(choice.value)));
    document.getElementById("site-before").addEventListener("click", () => step(-1));
    document.getElementById("site-after").addEventListener("click", () => step(1));
    for (const button of document.querySelectorAll("button[data-site]")) {
      button.addEventListener("click", () => open(Number(button.dataset.site), true));
    }
    open(0);
  }

  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(redraw);
  });
  dark.addEventListener("change", redraw);
  const onPaper = (is) => () => {
    printing = is;
    redraw();
  };
  addEventListener("beforeprint", onPaper(true));
  addEventListener("afterprint", onPaper(false));
  paper.addEventListener("change", (event) => onPaper(event.matches)());
})();
