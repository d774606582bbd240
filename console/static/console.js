/* What the pages cannot do without a script: the picker as a dialog, choosing all, dropping a file, and polling that
   spares a hidden tab and a slow server. Everything else works without it. */
"use strict";

(() => {
  const wait = new Map();
  const stale = () => document.getElementById("stale");

  document.addEventListener("htmx:before:request", (event) => {
    const source = event.target;
    const asksByItself = source instanceof Element && (source.getAttribute("hx-trigger") || "").startsWith("every");
    if (!asksByItself) return;
    if (document.hidden || Date.now() < (wait.get(source.id) || 0)) {
      event.preventDefault();
      return;
    }
    source.dataset.asked = String(Date.now());
  });

  document.addEventListener("htmx:after:request", (event) => {
    const source = event.target;
    if (!(source instanceof Element) || !source.dataset.asked) return;
    const took = Date.now() - Number(source.dataset.asked);
    // a server that takes long is asked less often: 100 ms cost nothing, a second some seven seconds
    wait.set(source.id, Date.now() + Math.max(250 * Math.sqrt(took) - 1000, 0));
    if (stale()) stale().hidden = true;
  });

  // 作业: counts that stand still for so long are said to stand still; a job that may yet be taken back waits on purpose
  const STILL_AFTER = 30000;
  let counted = { text: null, at: Date.now() };
  const lookStill = () => {
    const still = document.getElementById("still");
    if (!still) return;
    const live = document.getElementById("live");
    const key = live.querySelector(".key");
    const text = key ? key.innerText : "";
    if (text !== counted.text || live.hasAttribute("data-waits")) counted = { text, at: Date.now() };
    still.hidden = !live.hasAttribute("hx-get") || Date.now() - counted.at < STILL_AFTER;
  };
  for (const name of ["htmx:after:request", "htmx:after:swap"]) document.addEventListener(name, lookStill);

  for (const name of ["htmx:error", "htmx:response:error"]) {
    document.addEventListener(name, () => {
      if (stale()) stale().hidden = false;
    });
  }

  document.addEventListener("change", (event) => {
    const all = event.target.dataset && event.target.dataset.all;
    if (!all) return;
    for (const box of document.querySelectorAll(`input[type=checkbox][name="${all}"]`)) box.checked = event.target.checked;
  });

  const dialog = () => document.getElementById("picker");

  async function openPicker(button) {
    const form = button.form;
    const body = new URLSearchParams(new FormData(form, button));
    const answer = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } });
    if (!answer.ok) {
      if (stale()) stale().hidden = false;
      return;
    }
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    dialog().replaceChildren(...found.body.childNodes);
    if (!dialog().open) dialog().showModal();
    dialog().querySelector("input[name=find]").focus();
  }

  function take(serial) {
    const row = Number(dialog().querySelector("form").dataset.row);
    const box = document.querySelectorAll("#drafts input[name=serial]")[row];
    if (serial && box) {
      box.value = serial;
      document.querySelectorAll("#drafts input[name=tick]")[row].checked = true;
      dialog().close();
      box.focus();
    }
  }

  const picked = () => {
    const radio = dialog().querySelector("input[name=picked]:checked");
    return radio && radio.value;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button || !dialog()) return;
    if (button.hasAttribute("data-picker")) {
      event.preventDefault();
      openPicker(button);
    } else if (button.hasAttribute("data-take")) {
      event.preventDefault();
      take(picked());
    } else if (button.hasAttribute("data-close")) {
      event.preventDefault();
      dialog().close();
    }
  });

  document.addEventListener("dblclick", (event) => {
    const row = event.target.closest("#picker tr[data-serial]");
    if (row) take(row.dataset.serial);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !dialog() || !dialog().open) return;
    if (event.target.name === "picked") {
      event.preventDefault();
      take(event.target.value);
    } else if (event.target.name === "find") {
      event.preventDefault();
      openPicker(dialog().querySelector("[data-picker]"));
    }
  });

  for (const zone of document.querySelectorAll("[data-drop]")) {
    const file = zone.querySelector("input[type=file]");
    for (const name of ["dragover", "dragleave", "drop"]) {
      zone.addEventListener(name, (event) => {
        event.preventDefault();
        zone.classList.toggle("over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) file.files = event.dataTransfer.files;
      });
    }
  }
})();
