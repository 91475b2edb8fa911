// Shows what the run does, and fetches the page again when it has done something.
"use strict";

const live = document.getElementById("live");
const BETWEEN = 2000; // milliseconds
let fetched = Date.now();
let planned;

async function refresh() {
  planned = undefined;
  fetched = Date.now();
  try {
    const answer = await fetch("/");
    if (!answer.ok) {
      live.textContent = await answer.text();
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
  } catch {
    // The stream of events says that nobody answers, and comes back by itself.
  }
}

const stream = new EventSource("/events");
stream.onmessage = (event) => {
  live.textContent = event.data;
  live.classList.remove("lost");
  // After the first one too: the run may have gone on since the page was made.
  planned ??= setTimeout(refresh, Math.max(0, fetched + BETWEEN - Date.now()));
};
stream.onerror = () => {
  live.textContent = "nat serve does not answer; trying again";
  live.classList.add("lost");
};
