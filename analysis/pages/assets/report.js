/* Fills panels with figures, keeps the reader's choices in the link, isolates policies, writes CSV.
   Plain JavaScript, no request leaves the folder: data files are scripts, since fetch() fails on file:// pages. */
(function () {
  "use strict";
  const page = JSON.parse(document.getElementById("moedge-page").textContent);
  const store = {};
  const waiting = {};
  const state = Object.assign({}, page.defaults);
  let only = null;

  const moedge = (window.moedge = window.moedge || {});
  moedge.put = function (panel, figures) { store[panel] = Object.assign(store[panel] || {}, figures); };
  moedge.state = state;

  function load(file) {
    if (!waiting[file]) {
      waiting[file] = new Promise(function (resolve, reject) {
        const node = document.createElement("script");
        node.src = file;
        node.onload = resolve;
        node.onerror = function () { reject(new Error("cannot read " + file)); };
        document.head.appendChild(node);
      });
    }
    return waiting[file];
  }

  /* --- the link ------------------------------------------------------------------------------- */
  function readHash() {
    const found = new URLSearchParams(location.hash.slice(1));
    Object.keys(page.defaults).forEach(function (name) {
      const value = found.get(name);
      state[name] = value !== null && optionExists(name, value) ? value : page.defaults[name];
    });
    only = found.get("only");
  }
  function optionExists(name, value) {
    return Array.from(document.querySelectorAll('[data-choice="' + name + '"]')).some(function (node) {
      if (node.tagName === "SELECT") return Array.from(node.options).some(function (o) { return o.value === value; });
      return node.value === value;
    });
  }
  function writeHash() {
    const out = new URLSearchParams();
    Object.keys(state).forEach(function (name) { if (state[name] !== page.defaults[name]) out.set(name, state[name]); });
    if (only !== null) out.set("only", only);
    const text = out.toString();
    history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
  }

  /* --- choices -------------------------------------------------------------------------------- */
  function showChoices() {
    document.querySelectorAll("[data-choice]").forEach(function (node) {
      const value = state[node.dataset.choice];
      if (node.tagName === "SELECT") node.value = value;
      else node.setAttribute("aria-pressed", String(node.value === value));
    });
    document.querySelectorAll(".when").forEach(function (node) {
      node.hidden = !Array.from(node.attributes).every(function (a) {
        return !a.name.startsWith("data-when-") || state[a.name.slice(10)] === a.value;
      });
    });
  }
  function choose(name, value) {
    state[name] = value;
    writeHash();
    showChoices();
    document.querySelectorAll(".figure").forEach(function (node) {
      if (node.dataset.choices.split(" ").includes(name)) draw(node);
    });
  }

  /* --- figures -------------------------------------------------------------------------------- */
  const config = {
    displaylogo: false, responsive: true,
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
  };
  function keyOf(node) {
    return node.dataset.choices.split(" ").filter(Boolean).map(function (n) { return state[n]; }).join("|");
  }
  async function draw(node) {
    const panel = node.dataset.panel;
    const key = keyOf(node);
    const file = (page.files[panel] || {})[key];
    node.dataset.wanted = key;
    if (!file) return blank(node, "Nothing was recorded for this choice.");
    try { await load(file); } catch (error) { return blank(node, error.message); }
    if (node.dataset.wanted !== key) return; // a later choice overtook this one
    const figure = JSON.parse(store[panel][key]);
    const layout = Object.assign({}, figure.layout, { template: moedge.template, autosize: true });
    const settings = Object.assign({ toImageButtonOptions: { format: "png", scale: 2, filename: "moedge-" + panel + "-" + key.replace(/\|/g, "-") } }, config);
    isolateData(figure.data);
    node.style.minHeight = layout.height + "px";
    node.classList.remove("waiting");
    if (!node.dataset.drawn) node.textContent = "";
    await Plotly.react(node, figure.data, layout, settings);
    await makeRoom(node, layout);
    if (!node.dataset.listening) listen(node);
    node.dataset.drawn = key;
  }
  /* A legend of many policies, or a narrow window, takes several rows: the figure grows by them. */
  async function makeRoom(node, layout) {
    const legend = node.querySelector("g.legend"), full = node._fullLayout;
    if (!legend || !full.legend || full.legend.yref !== "container") return;
    const below = full.height * (1 - full.legend.y);
    const more = Math.ceil(below + legend.getBBox().height + 14 - full.margin.t);
    if (more <= 0) return;
    const height = layout.height + more;
    node.style.minHeight = height + "px";
    await Plotly.relayout(node, { height: height, "margin.t": full.margin.t + more, "legend.y": 1 - below / height });
  }
  function blank(node, text) {
    if (node.dataset.drawn) Plotly.purge(node);
    node.classList.remove("waiting");
    node.textContent = text;
    node.dataset.drawn = "";
    delete node.dataset.listening;
  }

  /* --- a click in a legend isolates the policy in all figures of the page; a second one frees it --- */
  function listen(node) {
    node.dataset.listening = "yes";
    node.on("plotly_legendclick", function (event) {
      const group = event.data[event.curveNumber].legendgroup;
      if (!group) return true;
      only = only === group ? null : group;
      writeHash();
      document.querySelectorAll(".figure[data-drawn]").forEach(isolateDrawn);
      return false;
    });
    node.on("plotly_legenddoubleclick", function () { return false; });
  }
  function isolateData(traces) {
    const known = traces.some(function (t) { return t.legendgroup === only; });
    traces.forEach(function (t) {
      if (t.legendgroup) t.visible = only === null || !known || t.legendgroup === only ? true : "legendonly";
    });
  }
  function isolateDrawn(node) {
    if (!node.data) return;
    isolateData(node.data);
    const all = node.data.map(function (_, i) { return i; });
    Plotly.restyle(node, { visible: node.data.map(function (t) { return t.visible === undefined ? true : t.visible; }) }, all);
  }

  /* --- CSV ------------------------------------------------------------------------------------ */
  function plainText(value) {
    const holder = document.createElement("textarea");
    holder.innerHTML = String(value).replace(/<br>/g, " ").replace(/<[^>]*>/g, "");
    return holder.value;
  }
  function cell(value) {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return Number.isFinite(value) ? String(Number(value.toPrecision(7))) : "";
    let text = plainText(value);
    if (/^[=+\-@\t\r]/.test(text)) text = "'" + text; // a spreadsheet would run it
    return /[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }
  function axisTitle(layout, id, fallback) {
    const axis = layout[id.replace(/^([xy])/, "$1axis")] || {};
    return (axis.title && axis.title.text) || fallback;
  }
  function category(layout, name, value) {
    const axis = layout[name];
    if (axis && axis.tickvals && axis.ticktext) {
      const at = Array.from(axis.tickvals).indexOf(Math.round(value));
      if (at >= 0) return axis.ticktext[at];
    }
    return value;
  }
  moedge.csv = function (node) {
    const layout = node._fullLayout;
    const x = axisTitle(layout, "x", "x"), y = axisTitle(layout, "y", "y");
    const shown = node._fullData.filter(function (t) { return t.visible === true; });
    const lines = [];
    if (shown.some(function (t) { return t.type === "heatmap"; })) {
      lines.push(["row", x, layout.title.text || "value"]);
      shown.forEach(function (t) {
        if (t.type === "heatmap") Array.from(t.z).forEach(function (row, i) {
          Array.from(row).forEach(function (z, j) {
            if (!t.hovertext) lines.push([t.y[i], t.x[j], z]);
            else if (t.hovertext[i][j]) lines.push([t.hovertext[i][j], "", z]); // a mosaic
          });
        });
      });
    } else {
      lines.push(["series", x, y, "start", "text"]);
      shown.forEach(function (t) {
        const length = (t.x || []).length;
        for (let i = 0; i < length; i += 1) {
          const words = Array.isArray(t.text) ? t.text[i] : "";
          lines.push([t.name, t.x[i], category(layout, "yaxis", t.y[i]), t.base ? t.base[i] : "", words]);
        }
      });
    }
    return lines.map(function (line) { return line.map(cell).join(","); }).join("\r\n") + "\r\n";
  };
  function download(node) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff" + moedge.csv(node)], { type: "text/csv" }));
    link.download = "moedge-" + node.dataset.panel + "-" + (node.dataset.drawn || "").replace(/\|/g, "-") + ".csv";
    link.click();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
  }

  /* --- tables --------------------------------------------------------------------------------- */
  function sortBy(head) {
    const table = head.closest("table"), at = Array.from(head.parentNode.children).indexOf(head);
    const rising = head.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("th[aria-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = function (row) {
      const raw = row.children[at].dataset.value;
      return raw === undefined || raw === "" ? null : isNaN(Number(raw)) ? raw : Number(raw);
    };
    const body = table.tBodies[0];
    Array.from(body.rows).sort(function (a, b) {
      const p = value(a), q = value(b);
      if (p === null || q === null) return (p === null) - (q === null);
      return (p < q ? -1 : p > q ? 1 : 0) * (rising ? 1 : -1);
    }).forEach(function (row) { body.appendChild(row); });
  }

  /* --- start ---------------------------------------------------------------------------------- */
  document.addEventListener("change", function (event) {
    if (event.target.matches("select[data-choice]")) choose(event.target.dataset.choice, event.target.value);
  });
  document.addEventListener("click", function (event) {
    const button = event.target.closest("button[data-choice]");
    if (button) choose(button.dataset.choice, button.value);
    const csv = event.target.closest("[data-csv]");
    if (csv) {
      const node = csv.closest(".card").querySelector(".figure");
      if (node.dataset.drawn) download(node);
    }
    const head = event.target.closest("th[data-sort]");
    if (head) sortBy(head);
    if (event.target.id === "copy-link") copyLink(event.target);
  });
  document.addEventListener("keydown", function (event) {
    const head = event.target.closest && event.target.closest("th[data-sort]");
    if (head && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); sortBy(head); }
  });
  function copyLink(button) {
    const said = function (text) { button.textContent = text; setTimeout(function () { button.textContent = "Copy link"; }, 1500); };
    if (!navigator.clipboard) return said("Use the address bar");
    navigator.clipboard.writeText(location.href).then(function () { said("Copied"); }, function () { said("Use the address bar"); });
  }
  function start() {
    readHash();
    showChoices();
    document.querySelectorAll(".figure").forEach(function (node) { node.classList.add("waiting"); draw(node); });
  }
  window.addEventListener("hashchange", start);
  start();
})();
