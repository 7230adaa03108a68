"use strict";
// Draws the curves from the JSON in #data. Colours come from the style sheet, so that light and dark agree.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const hidden = new Set();
  const median = document.getElementById("median");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plots = [];
  let printing = false;

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const name = (curve) => curve.metric + (curve.feature ? " · " + curve.feature : "");
  // Colours are mixed with white on a dark ground, as the style sheet does for the dots.
  const tint = (hex) => !dark.matches || printing ? hex : "#" + [1, 3, 5].map((i) =>
    Math.round(parseInt(hex.slice(i, i + 2), 16) * 0.75 + 64).toString(16).padStart(2, "0")).join("");
  const fade = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
  const theme = () => {
    const style = getComputedStyle(document.documentElement);
    const get = (key) => style.getPropertyValue(key).trim();
    return printing
      ? {ink: "#222", soft: "#666", line: "#e4e4e4", band: "#00000012", paper: "#ffffff"}
      : {ink: get("--ink"), soft: get("--soft"), line: get("--line"), band: get("--band"), paper: get("--card")};
  };

  // A log axis has no place for 0 and below: what reaches there is cut off under the least mean or median.
  const floor = (curve) => !curve.log ? -Infinity : 0.8 * Math.min(...Object.values(curve.series)
    .flatMap((s) => [...s.mean, ...s.median]).filter((value) => value > 0));
  const above = (value, least) => Math.max(value, least);

  function traces(curve) {
    const drawn = [], least = floor(curve);
    const branches = data.branches.map((branch) => ({...branch, colour: tint(branch.colour)}));
    for (const branch of branches) {
      const s = curve.series[branch.name];
      if (!s || hidden.has(branch.name)) continue;
      const kept = s.x.map((_, i) => i).filter((i) => s.low[i] !== null && s.high[i] !== null);
      if (kept.length) {
        const back = kept.slice().reverse();
        drawn.push({
          x: kept.concat(back).map((i) => s.x[i]),
          y: kept.map((i) => above(s.high[i], least)).concat(back.map((i) => above(s.low[i], least))),
          fill: "toself", fillcolor: fade(branch.colour, 0.16), line: {width: 0}, mode: "lines",
          hoverinfo: "skip", showlegend: false,
        });
      }
    }
    for (const branch of branches) {
      const s = curve.series[branch.name];
      if (!s || hidden.has(branch.name)) continue;
      drawn.push({
        x: s.x, y: s.mean, name: branch.name, mode: "lines+markers",
        line: {color: branch.colour, width: 2.2, dash: branch.dash}, marker: {color: branch.colour, size: 5},
        customdata: s.x.map((_, i) => s.low[i] === null ? "" : ` [${short(s.low[i])}, ${short(s.high[i])}]`),
        hovertemplate: "%{y:.3g}%{customdata}",
      });
      if (median.checked) {
        drawn.push({
          x: s.x, y: s.median, name: branch.name + " median", mode: "lines", hovertemplate: "%{y:.3g}",
          line: {color: branch.colour, width: 1.4, dash: "dot"},
        });
      }
      const printed = curve.published[branch.name];
      if (printed) {
        drawn.push({
          x: printed.x, y: printed.y, name: branch.name + " published", mode: "markers", hovertemplate: "%{y:.3g}",
          marker: {color: branch.colour, size: 9, symbol: "diamond-open", line: {width: 1.8}},
        });
      }
      const law = curve.laws[branch.name];
      if (law) {
        drawn.push({
          x: law.x, y: law.y, name: branch.name + " law", mode: "lines", hovertemplate: "%{y:.3g}",
          line: {color: branch.colour, width: 1.6, dash: "8px,5px"}, opacity: 0.9,
        });
      }
    }
    return drawn;
  }
  const short = (value) => Number(value.toPrecision(3)).toString();

  // Generations are whole numbers, and so are the steps between their ticks: 1, 2, 5, 10, …, for twelve ticks at the most.
  const stride = (curve) => {
    const last = Math.max(1, ...Object.values(curve.series).flatMap((s) => s.x));
    return [1, 2, 5].flatMap((n) => [n, 10 * n, 100 * n, 1000 * n]).sort((a, b) => a - b).find((n) => last / n <= 12);
  };

  function layout(curve) {
    const t = theme(), least = floor(curve);
    const shapes = [];
    if (curve.band) {
      if (!curve.band.includes(null)) shapes.push({
        type: "rect", xref: "paper", x0: 0, x1: 1, yref: "y", layer: "below", line: {width: 0}, fillcolor: t.band,
        y0: above(curve.band[0], least), y1: above(curve.band[1], least),
      });
      for (const value of curve.band) if (value !== null && value > least) shapes.push({
        type: "line", xref: "paper", x0: 0, x1: 1, yref: "y", y0: value, y1: value, layer: "below",
        line: {color: t.soft, width: 0.6},
      });
    }
    const fonts = {family: "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif", size: 12, color: t.soft};
    const axis = {gridcolor: t.line, zeroline: false, linecolor: t.line, tickcolor: t.line, automargin: true,
                  fixedrange: true};
    return {
      margin: {l: 44, r: 8, t: 6, b: 36}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: fonts,
      showlegend: false, hovermode: "x unified", shapes,
      hoverlabel: {bgcolor: t.paper, bordercolor: t.line, font: {...fonts, color: t.ink}},
      xaxis: {...axis, showgrid: false, title: {text: "generation", standoff: 6}, tick0: 0, dtick: stride(curve),
              ticks: "outside", ticklen: 4, showline: true},
      yaxis: {...axis, type: curve.log ? "log" : "linear", nticks: 6,
              ...(curve.log ? {exponentformat: "power", dtick: 1} : {rangemode: "normal"})},
    };
  }

  const draw = () => plots.forEach(({target, pick}) => {
    const curve = pick();
    Plotly.react(target, traces(curve), layout(curve), {displayModeBar: false, responsive: true});
  });

  const charts = document.getElementById("charts");
  data.curves.slice(0, data.charts).forEach((curve, i) => {
    const target = element("div", {id: "chart-" + i, className: "plot"});
    target.setAttribute("role", "img");
    target.setAttribute("aria-label", name(curve) + " by generation and branch");
    charts.append(element("figure", {className: "chart"},
      element("figcaption", {}, element("code", {textContent: name(curve)}),
        element("span", {className: "meaning", textContent: curve.meaning})), target));
    plots.push({target, pick: () => curve});
  });

  const select = document.getElementById("explore");
  const meaning = document.getElementById("explore-meaning");
  const others = data.curves.map((curve, i) => [curve, i]).slice(data.charts).concat(
    data.curves.map((curve, i) => [curve, i]).slice(0, data.charts));
  for (const [curve, i] of others) select.append(element("option", {value: i, textContent: name(curve)}));
  if (data.curves.length > data.charts) {
    plots.push({target: document.getElementById("chart-explore"), pick: () => data.curves[select.value]});
  } else {
    document.getElementById("explorer").remove();
  }
  const explain = () => { meaning.textContent = data.curves.length ? data.curves[select.value].meaning : ""; };
  select.addEventListener("change", () => { explain(); draw(); });
  median.addEventListener("change", draw);
  document.querySelectorAll(".legend button").forEach((button) => button.addEventListener("click", () => {
    const branch = button.dataset.branch;
    if (!hidden.delete(branch)) hidden.add(branch);
    button.setAttribute("aria-pressed", String(!hidden.has(branch)));
    draw();
  }));
  dark.addEventListener("change", draw);
  addEventListener("beforeprint", () => { printing = true; draw(); });
  addEventListener("afterprint", () => { printing = false; draw(); });
  explain();
  draw();

  // A node's metrics and manifest are written when it is opened: as text, never as HTML.
  const records = data.nodes;
  function fill(place) {
    const node = place.dataset.node;
    const kept = records.manifests[node];
    if (!kept || place.querySelector("pre")) return;
    const manifest = {...kept, parts: kept.parts.map((number) => records.parts[number])};
    const list = element("div", {className: "columns"});
    records.metrics.forEach((metric, i) => {
      const value = records.medians[node][i];
      if (value !== null) list.append(element("div", {}, element("code", {textContent: metric}), short(value)));
    });
    if (list.childElementCount) place.append(element("p", {textContent: "Medians over replicates"}), list);
    place.append(element("pre", {textContent: JSON.stringify(manifest, null, 1), tabIndex: 0}));
  }
  document.querySelectorAll(".record").forEach((record) => record.addEventListener("toggle", () => {
    if (record.open) fill(record.querySelector(".facts-of"));
  }));
  function reveal() {
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place || !place.classList.contains("facts-of")) return;
    for (let up = place.parentElement; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
    fill(place);
    place.scrollIntoView();
    place.focus({preventScroll: true});
  }
  addEventListener("hashchange", reveal);
  document.querySelectorAll('a[href^="#node-"]').forEach((a) => a.addEventListener("click", () => {
    if (a.getAttribute("href") === location.hash) reveal();
  }));
  reveal();

  // The section in view is marked in the bar.
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    links.forEach((a) => a.removeAttribute("aria-current"));
    const link = links.get(entry.target.id);
    if (link) link.setAttribute("aria-current", "true");
  }), {rootMargin: "-20% 0px -70% 0px"});
  document.querySelectorAll("main section").forEach((section) => seen.observe(section));
})();
