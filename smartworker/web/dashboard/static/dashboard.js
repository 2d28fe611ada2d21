"use strict";
// Replaces sections as they change. Without this file the page is complete, and still.
(() => {
  const live = document.getElementById("live");
  const ahead = Date.parse(document.body.dataset.now) - Date.now();
  let source = null;

  const say = (state, text) => {
    if (live.dataset.state === state) return;
    live.dataset.state = state;
    live.textContent = text;
  };

  const within = (root, name, value) =>
    value && root.querySelector(`[data-${name}="${CSS.escape(value)}"]`);

  function replace(id, html) {
    const old = document.getElementById(id);
    const box = document.createElement("template");
    box.innerHTML = html;
    const fresh = box.content.firstElementChild;
    if (!old || !fresh || fresh.dataset.version === old.dataset.version) return;
    for (const each of old.querySelectorAll("details[open]")) {
      const same = within(fresh, "key", each.dataset.key);
      if (same) same.open = true;
    }
    const active = document.activeElement;
    const focus = old.contains(active) && active.dataset.focus;
    old.replaceWith(fresh);
    const same = within(fresh, "focus", focus);
    if (same) same.focus({ preventScroll: true });
  }

  function listen() {
    if (source || document.hidden) return;
    const mine = (source = new EventSource(document.body.dataset.events));
    mine.addEventListener("sections", (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) replace(id, html);
      say("on", "live");
      tick();
    });
    mine.addEventListener("error", () => {
      say("off", "disconnected");
      if (mine.readyState !== EventSource.CLOSED || mine !== source) return;
      source = null;
      setTimeout(listen, 10000);
    });
  }

  // A page that nobody sees costs nothing.
  function hush() {
    if (source) source.close();
    source = null;
    say("none", "");
  }

  function tick() {
    for (const each of document.querySelectorAll("[data-until]")) {
      const left = Math.round((Date.parse(each.dataset.until) - Date.now() - ahead) / 1000);
      const minutes = Math.floor(left / 60);
      const text = minutes ? `${minutes} min ${left % 60} s` : `${left} s`;
      each.textContent = left > 0 ? `in ${text}, ` : "now, ";
    }
  }

  const see = () => (document.hidden ? hush() : listen());
  document.addEventListener("visibilitychange", see);
  window.addEventListener("pagehide", hush);
  window.addEventListener("pageshow", see);
  setInterval(tick, 1000);
  tick();
  see();
})();
