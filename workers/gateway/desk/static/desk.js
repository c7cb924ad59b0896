// Keeps an open page true: the server says that something moved, the page is asked for again, and
// only the parts that differ are replaced. Without this script the same pages work by reloading.
"use strict";

const PAUSE_MS = 400; // many changes in one block are one look
const AGAIN_MS = 15000; // when the gateway takes no more listeners, or is away

const news = document.getElementById("news");
let looking = null;

function say(text) {
  news.textContent = text;
}

// The folded hash with the focus, an open detail: what a person is at stays as it is.
function isAtWork(part) {
  return part.contains(document.activeElement) && document.activeElement !== document.body;
}

function openDetails(part) {
  return [...part.querySelectorAll("details")].map((detail) => detail.open);
}

function replace(part, fresh) {
  if (part.outerHTML === fresh.outerHTML) return;
  const open = openDetails(part);
  const focused = isAtWork(part) ? document.activeElement : null;
  const place = focused ? [...part.querySelectorAll("a, button, input, summary, [tabindex]")].indexOf(focused) : -1;
  part.replaceWith(fresh);
  if (open.length === fresh.querySelectorAll("details").length) {
    fresh.querySelectorAll("details").forEach((detail, index) => { detail.open = open[index]; });
  }
  if (place >= 0) fresh.querySelectorAll("a, button, input, summary, [tabindex]")[place]?.focus({ preventScroll: true });
  if (fresh.id !== "height") fresh.classList.add("fresh");
  showCopyButtons(fresh);
}

async function lookAgain() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (answer.status === 401) return location.reload();
  if (!answer.ok) throw new Error(`the page answered ${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = part.id && fresh.getElementById(part.id);
    part.classList.remove("fresh");
    if (!part.className) part.removeAttribute("class");
    if (next) replace(part, next);
  }
  const stream = fresh.body.dataset.stream;
  if (stream && shows(stream) !== shows(document.body.dataset.stream)) {
    document.body.dataset.stream = stream; // other channels are shown now
    listen();
  }
}

function shows(address) {
  return new URL(address, location.href).searchParams.get("channels");
}

function lookSoon() {
  looking ??= setTimeout(() => {
    lookAgain().catch(() => setTimeout(lookSoon, AGAIN_MS)).finally(() => { looking = null; });
  }, PAUSE_MS);
}

let source = null;
function listen() {
  source?.close();
  source = new EventSource(document.body.dataset.stream);
  const light = document.getElementById("live");
  source.addEventListener("open", () => { light.hidden = false; light.textContent = "live"; light.classList.remove("away"); });
  source.addEventListener("changed", (event) => {
    const moved = JSON.parse(event.data);
    const states = moved.channels.map((channel) => `${channel.channel_point.slice(0, 8)} is ${channel.state.replaceAll("_", " ").toLowerCase()}`);
    const words = [];
    if (states.length > 3) words.push(`${states.length} channels moved`);
    else if (states.length) words.push(`Channel ${states.join(", ")}`);
    if (moved.alarms) words.push("Alarms changed");
    if (moved.dead_letters) words.push("Dead letters changed");
    if (words.length) say(words.join(". "));
    lookSoon();
  });
  source.addEventListener("error", () => {
    light.hidden = false; light.textContent = "not live"; light.classList.add("away");
    // A refusal ends an EventSource for good; a lost connection it mends by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  });
}

function showCopyButtons(part) {
  if (!navigator.clipboard) return;
  for (const button of part.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      say("Copied");
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

if (document.body.dataset.stream) listen();
showCopyButtons(document);
