// Replaces the live parts of a page by what the server sends. Without this
// script the pages work and are reloaded by hand.
(() => {
  "use strict";

  const retryAfter = 5000; // ms, when the server ended the stream
  const button = document.getElementById("pause");
  const state = document.getElementById("state");
  if (!button || !state || !window.EventSource) return;

  let source = null;
  let retry = 0;

  function say(text) {
    if (state.textContent !== text) state.textContent = text;
    document.documentElement.dataset.stream = text;
  }

  // selecting reports whether text in part is selected: it is left alone, so
  // that it can be copied.
  function selecting(part) {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  }

  // replace puts new content into a live part, and keeps the focus.
  function replace(part, fresh) {
    if (selecting(part)) return;
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(...fresh.childNodes);
    if (focused === null) return;
    for (const link of part.querySelectorAll("a[href]")) {
      if (link.getAttribute("href") === focused) {
        link.focus({ preventScroll: true });
        return;
      }
    }
  }

  function show(event) {
    const news = new DOMParser().parseFromString(event.data, "text/html");
    for (const id of ["live-head", "live-body"]) {
      const part = document.getElementById(id);
      const fresh = news.getElementById(id);
      if (part && fresh) replace(part, fresh);
    }
    say("Live");
  }

  function lost() {
    say("Reconnecting…");
    if (source && source.readyState === EventSource.CLOSED) {
      retry = setTimeout(open, retryAfter);
    }
  }

  function open() {
    close();
    source = new EventSource(location.href.split("#")[0]);
    source.onmessage = show;
    source.onerror = lost;
  }

  function close() {
    clearTimeout(retry);
    if (source) source.close();
    source = null;
  }

  let paused = false;

  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    if (paused) {
      close();
      say("Paused");
    } else {
      say("Connecting…");
      open();
    }
  });

  // A browser opens few connections to one server: pages that nobody sees
  // give theirs up.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!paused) open();
  });

  button.hidden = false;
  say("Connecting…");
  if (!document.hidden) open();
})();
