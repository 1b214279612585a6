// Draws every [data-plot] with the chart library; the legend tells the values under the pointer.
"use strict";
(() => {
  const library = window.LightweightCharts;
  if (!library) return;
  const COLORS = ["--bar", "--first", "--bad", "--good"];
  const pad = (n) => String(n).padStart(2, "0");

  function show(unit, value) {
    if (value === null || value === undefined) return "–";
    if (unit === "money") return value >= 1 || value < 1e-9 ? `$${value.toFixed(2)}` : `$${Number(value.toPrecision(2))}`;
    if (unit === "span") return value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${Number(value.toPrecision(3))} ms`;
    if (unit === "percent") return `${Number(value.toPrecision(3))} %`;
    return value >= 1e6 ? `${Number((value / 1e6).toPrecision(3))} M` : value >= 1e4 ? `${Number((value / 1e3).toPrecision(3))} k` : String(Math.round(value));
  }
  function clock(seconds, long) {
    const at = new Date(seconds * 1000);
    const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
    const time = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
    return long ? `${day} ${time}` : at.getHours() || at.getMinutes() ? time : day.slice(5);
  }
  function look() {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(name).trim();
  }

  function draw(place) {
    const plot = JSON.parse(place.dataset.plot);
    const legend = place.previousElementSibling;
    const color = look();
    const daily = plot.times.length > 1 && plot.times[1] - plot.times[0] >= 86400;
    const chart = library.createChart(place, {
      autoSize: true,
      layout: { background: { color: "transparent" }, textColor: color("--quiet"), fontSize: 11, attributionLogo: false },
      grid: { vertLines: { visible: false }, horzLines: { color: color("--line") } },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0 } },
      timeScale: {
        borderColor: color("--line"), timeVisible: !daily, secondsVisible: false, fixLeftEdge: true, fixRightEdge: true,
        tickMarkFormatter: (time) => (daily ? new Date(time * 1000).toISOString().slice(5, 10) : clock(time, false)),
      },
      localization: {
        priceFormatter: (value) => show(plot.unit, value),
        timeFormatter: (time) => (daily ? new Date(time * 1000).toISOString().slice(0, 10) : clock(time, true)),
      },
      crosshair: { horzLine: { visible: false, labelVisible: false } },
      handleScroll: false,
      handleScale: false,
    });
    const drawn = plot.lines.map((line) => {
      const ink = color(COLORS[line.color]);
      const kind = line.style === "bars" ? library.HistogramSeries : library.LineSeries;
      const settings = { color: ink, lineWidth: 2, priceLineVisible: false, lastValueVisible: false, crosshairMarkerRadius: 3, priceFormat: { type: "custom", minMove: 0.000001, formatter: (value) => show(plot.unit, value) } };
      const series = chart.addSeries(kind, settings);
      series.setData(plot.times.map((time, index) => (line.values[index] === null ? { time } : { time, value: line.values[index] })));
      // Zero is the ground that bars and times stand on.
      series.applyOptions({ autoscaleInfoProvider: (original) => {
        const found = original();
        if (found?.priceRange) found.priceRange.minValue = 0;  // null where none of its points is in sight
        return found;
      } });
      return series;
    });
    chart.timeScale().fitContent();

    function tell(index, time) {
      legend.replaceChildren(...plot.lines.map((line) => {
        const key = document.createElement("span");
        key.className = `key s${line.color}`;
        const item = document.createElement("span");
        item.append(key, line.name, index === null ? "" : ` ${show(plot.unit, line.values[index])}`);
        return item;
      }));
      if (time) legend.append(time);
    }
    tell(null);
    chart.subscribeCrosshairMove((at) => {
      const index = at.time === undefined ? -1 : plot.times.indexOf(at.time);
      tell(index < 0 ? null : index, index < 0 ? "" : daily ? new Date(at.time * 1000).toISOString().slice(0, 10) : clock(at.time, true));
    });
    return () => { chart.remove(); drawn.length = 0; };
  }

  let undo = [];
  function all() {
    undo.forEach((one) => one());
    undo = [...document.querySelectorAll("[data-plot]")].map(draw);
    document.body.dataset.drawn = String(undo.length);
  }
  all();
  document.addEventListener("themechange", all);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
})();
