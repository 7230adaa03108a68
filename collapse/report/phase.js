
// Draws the phase diagrams of sweeps. Colours come from the style sheet.
(() => {
  const {phases, stages: words} = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stages = ["healthy", "early", "late", "distorted", "drifted", "halted"];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const short = (value) => value === null ? "" : String(Number(value.toPrecision(2)));

  // A measurement is green where it is ideal, and takes the colour of the stage that it tells of on either side.
  function scale(m, low, high) {
    const below = m.collapse === "above" ? "distorted" : "late", above = m.collapse === "above" ? "late" : "distorted";
    if (m.ideal === null || high <= low) return [[0, colour("band")], [1, colour("accent")]];
    const p = (m.ideal - low) / (high - low);
    if (p <= 0) return [[0, colour("healthy")], [1, colour(above)]];
    if (p >= 1) return [[0, colour(below)], [1, colour("healthy")]];
    return [[0, colour(below)], [p, colour("healthy")], [1, colour(above)]];
  }

  function draw(figure, phase, chosen, generation) {
    const m = chosen < 0 ? null : phase.metrics[chosen];
    const z = (m ? m.z : phase.stages)[generation - 1];
    const text = z.map((row) => row.map((v) => m ? short(v) : v === null ? "" : words[v].replace(" ", "<br>")));
    const all = m ? m.z.flat(2).filter((v) => v !== null) : [];
    const ideal = m && m.ideal !== null ? [m.ideal] : [];
    const low = Math.min(...all, ...ideal), high = Math.max(...all, ...ideal);
    const steps = stages.flatMap((name, i) => [[i / stages.length, colour(name)], [(i + 1) / stages.length, colour(name)]]);
    const hover = z.map((row, r) => row.map((v, c) => `<b>${phase.branches[r][c]}</b><br>` +
      (m ? `${m.metric} ${v === null ? "–" : short(v)}` : v === null ? "–" : words[v])));
    const traces = [{
      type: "heatmap", z, text, texttemplate: "%{text}", hovertext: hover, hovertemplate: "%{hovertext}<extra></extra>",
      textfont: {color: colour("on"), size: 12}, xgap: 3, ygap: 3, showscale: Boolean(m),
      zmin: m ? low : -0.5, zmax: m ? Math.max(high, low + 1e-9) : stages.length - 0.5, colorscale: m ? scale(m, low, high) : steps,
      colorbar: {thickness: 10, outlinewidth: 0, tickfont: {color: colour("soft"), size: 11}},
    }];
    if (phase.law && (!m || m.lawful)) for (const level of phase.levels) {
      traces.push({
        type: "contour", x: phase.law.x, y: phase.law.y, z: phase.law.z[generation - 1], showscale: false, hoverinfo: "skip",
        contours: {start: level, end: level, size: 1, coloring: "none", showlabels: true,
                   labelfont: {color: colour("ink"), size: 12}},
        line: {color: colour("ink"), width: 2, dash: "dash"}, name: "law " + level,
      });
    }
    const axis = (key, values) => ({
      title: {text: key, standoff: 8}, tickvals: values.map((_, i) => i), ticktext: values, zeroline: false, showgrid: false,
      range: [-0.5, values.length - 0.5], fixedrange: true, automargin: true, linecolor: colour("line"),
    });
    Plotly.react(figure.querySelector(".plot"), traces, {
      margin: {l: 50, r: 10, t: 8, b: 44}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: {family: "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif", size: 12, color: colour("soft")},
      hoverlabel: {bgcolor: colour("card"), bordercolor: colour("line"), font: {color: colour("ink")}},
      xaxis: axis(phase.keys[0], phase.x), yaxis: axis(phase.keys[1] || "", phase.y),
    }, {displayModeBar: false, responsive: true});
  }

  document.querySelectorAll(".phase").forEach((figure) => {
    const phase = phases[figure.dataset.phase];
    const select = figure.querySelector("select"), slider = figure.querySelector("input");
    const add = (value, textContent) => select.append(Object.assign(document.createElement("option"), {value, textContent}));
    add(-1, "stage");
    phase.metrics.forEach((m, i) => add(i, m.metric));
    slider.max = slider.value = phase.stages.length;
    const update = () => {
      const m = phase.metrics[select.value];
      figure.querySelector("output").textContent = slider.value;
      figure.querySelector(".meaning").textContent = m ? m.meaning : "The stage that the median over replicates shows";
      draw(figure, phase, Number(select.value), Number(slider.value));
    };
    for (const control of [select, slider]) control.addEventListener("input", update);
    dark.addEventListener("change", update);
    update();
  });
})();
