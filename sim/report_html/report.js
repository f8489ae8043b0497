"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Filter: words that all must occur in a row's or a story's text.
  const box = document.getElementById("filter");
  const told = document.getElementById("filter-told");
  const apply = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const part of all("[data-find]")) {
      const text = part.dataset.find.toLowerCase();
      part.hidden = !words.every((word) => text.includes(word));
      if (!part.hidden && part.matches("tr")) shown += 1;
    }
    told.textContent = words.length ? `${shown} scenarios fit` : "";
  };
  if (box) box.addEventListener("input", apply);

  // Sort a table by the column of a pressed head; again: the other way.
  for (const button of all("th button[data-sort]")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const body = head.closest("table").tBodies[0];
      const down = head.getAttribute("aria-sort") === "descending";
      for (const other of all("th", head.parentElement)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const column = head.cellIndex;
      const value = (row) => {
        const cell = row.cells[column];
        return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
      };
      const order = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b)));
      const rows = [...body.rows].sort((a, b) => (down ? 1 : -1) * order(value(a), value(b)));
      body.append(...rows);
    });
  }

  // Stories: a slider moves the walkers and the line through the lanes.
  const place = (walker, at) => {
    const { t, x, y } = walker;
    if (!t.length || at < t[0] - 1 || at > t[t.length - 1] + 1) return null;
    let i = 0;
    while (i + 1 < t.length && t[i + 1] <= at) i += 1;
    const j = Math.min(i + 1, t.length - 1);
    const part = t[j] > t[i] ? Math.min(1, Math.max(0, (at - t[i]) / (t[j] - t[i]))) : 0;
    return [x[i] + part * (x[j] - x[i]), y[i] + part * (y[j] - y[i])];
  };
  const prepare = (story) => {
    if (story.dataset.ready) return;
    story.dataset.ready = "yes";
    const walk = JSON.parse(story.querySelector("script.walk").textContent);
    const slider = story.querySelector("input[type=range]");
    const button = story.querySelector(".player button");
    const clock = story.querySelector("output");
    const dots = all("[data-walker]", story);
    const head = story.querySelector(".head");
    const show = () => {
      const at = Number(slider.value);
      clock.textContent = `${at.toFixed(1)} s`;
      dots.forEach((dot) => {
        const point = place(walk.walkers[Number(dot.dataset.walker)], at);
        dot.setAttribute("visibility", point ? "visible" : "hidden");
        if (point) { dot.setAttribute("cx", point[0]); dot.setAttribute("cy", point[1]); }
      });
      const x = walk.left + ((at - walk.start) / (walk.end - walk.start)) * (walk.right - walk.left);
      head.setAttribute("x1", x);
      head.setAttribute("x2", x);
    };
    let timer = 0;
    const stop = () => { cancelAnimationFrame(timer); timer = 0; button.textContent = "Play"; };
    const play = () => {
      if (timer) { stop(); return; }
      if (Number(slider.value) >= walk.end - 0.2) slider.value = walk.start;
      button.textContent = "Pause";
      let last = performance.now();
      const tick = (now) => {
        slider.value = Number(slider.value) + ((now - last) / 1000) * 4;
        last = now;
        show();
        if (Number(slider.value) >= walk.end - 0.05 || !story.open) stop();
        else timer = requestAnimationFrame(tick);
      };
      timer = requestAnimationFrame(tick);
    };
    slider.addEventListener("input", () => { if (timer) stop(); show(); });
    button.addEventListener("click", play);
    show();
    const lanes = story.querySelector(".lanes-box");
    const wide = Number(head.getAttribute("x1")) / Number(lanes.firstElementChild.viewBox.baseVal.width);
    lanes.scrollLeft = wide * lanes.scrollWidth - lanes.clientWidth / 2;
  };
  for (const story of all("details.story")) {
    story.addEventListener("toggle", () => { if (story.open) prepare(story); });
  }
  const follow = () => {
    const wanted = location.hash ? document.getElementById(location.hash.slice(1)) : null;
    if (!wanted || !wanted.matches("details.story")) return;
    if (wanted.hidden) { box.value = ""; apply(); }
    wanted.open = true;
    wanted.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();
})();
