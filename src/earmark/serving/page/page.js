// The page as a whole: its words, its doors, the order in which sounds are heard.

import { Card } from "/page/card.js";
import { startRecording } from "/page/recorder.js";
import { ask, keepToken, Problem } from "/page/service.js";
import { explain, language, nameClock, nameDuration, nameFrequency, namePercent, setLanguage, word } from "/page/words.js";

const AT_ONCE = 2;
const find = (name) => document.getElementById(name);
const cards = [];
let model, stopRecording, busy = 0;

function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", word(element.dataset.label));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  find("record-word").textContent = word("record");
  if (model) introduce();
  cards.forEach((card) => card.draw());
}

function introduce() {
  document.title = `${model.name} · Earmark`;
  find("name").textContent = model.name;
  find("model").hidden = find("entrance").hidden = false;
  find("model").textContent = word("model", model.labels.length, nameFrequency(model.sample_rate), nameDuration(model.window_s));
  find("formats").textContent = word("formats", model.limits.body_mb, nameDuration(model.limits.duration_s));
  find("reject-option").hidden = !Object.keys(model.thresholds).length;
  const classes = find("classes");
  classes.hidden = false;
  classes.querySelector("summary").textContent = word("classes", model.labels.length);
  classes.querySelector("ul").replaceChildren(...model.labels.map((label) => {
    const item = document.createElement("li");
    item.textContent = label;
    return item;
  }));
}

async function open() {
  try {
    model = await ask("/v1/model");
  } catch (problem) {
    find("gate").hidden = problem.kind !== "token";
    if (problem.kind === "token") find("token").focus();
    else fail(problem);
    return problem;
  }
  find("gate").hidden = true;
  introduce();
}

function fail(problem) {
  find("entrance").hidden = false;
  find("zone").hidden = true;
  showFault(find("record-fault"), explain(problem.kind) || problem.message);
}

function showFault(place, sentence) {
  place.hidden = !sentence;
  place.textContent = sentence;
}

function announce(sentence) {
  find("status").textContent = sentence;
}

function receive(files) {
  for (const file of files) {
    const card = new Card(file, find("sound"), forget);
    cards.push(card);
    find("results-title").after(card.root);
  }
  find("results").hidden = !cards.length;
  hearNext();
}

function forget(card) {
  cards.splice(cards.indexOf(card), 1);
  find("results").hidden = !cards.length;
  (find("results").querySelector(".remove") ?? find("choose")).focus();
}

function hearNext() {
  while (busy < AT_ONCE) {
    const card = cards.find((waiting) => waiting.stage === "waiting");
    if (!card) return;
    busy += 1;
    hear(card).finally(() => { busy -= 1; hearNext(); });
  }
}

async function hear(card) {
  card.setStage("listening");
  try {
    const wanted = new URLSearchParams({ picture: true, reject: find("reject").checked });
    card.setAnswer((await ask(`/v1/classify?${wanted}`, card.file)).results[0]);
    announceAnswer(card);
    if (card.isLong(model.window_s) && !card.closed) {
      card.setStage("looking");
      card.setEvents((await ask("/v1/timeline", card.file)).results[0].events);
      announce(word("eventsFound", card.file.name, card.events.length));
    }
  } catch (problem) {
    card.setProblem(problem instanceof Problem ? problem : new Problem("failed", String(problem)));
    announce(`${word("refused", card.file.name)} ${explain(problem.kind) || problem.message}`);
  }
}

function announceAnswer(card) {
  const { label, score } = card.prediction[0];
  announce(card.answer.rejected ? word("answeredUnknown", card.file.name)
    : word("answered", card.file.name, label, namePercent(score)));
}

async function toggleRecording() {
  if (stopRecording) {
    stopRecording();
    return;
  }
  showFault(find("record-fault"), "");
  if (!navigator.mediaDevices) {
    showFault(find("record-fault"), word("insecure"));
    return;
  }
  try {
    stopRecording = await startRecording(showLevel, endRecording);
  } catch {
    showFault(find("record-fault"), word("noMicrophone"));
    return;
  }
  find("record").classList.add("recording");
  find("meter").hidden = false;
  announce(word("recordingNow"));
}

function showLevel(peak, seconds) {
  // In decibels, as one hears: the bar begins at -60 dB.
  const share = Math.max(0, 1 + 20 * Math.log10(Math.max(peak, 1e-6)) / 60);
  find("meter").firstElementChild.style.transform = `scaleX(${share})`;
  find("record-word").textContent = word("stop", nameClock(Math.floor(seconds)));
}

function endRecording(recording) {
  stopRecording = undefined;
  find("record").classList.remove("recording");
  find("meter").hidden = true;
  find("record-word").textContent = word("record");
  const name = word("recordingName", new Date().toLocaleTimeString(language === "zh" ? "zh-CN" : "en-GB"));
  receive([new File([recording], name, { type: recording.type })]);
}

function openDoors() {
  const zone = find("zone"), files = find("files");
  find("choose").addEventListener("click", () => files.click());
  files.addEventListener("change", () => { receive(files.files); files.value = ""; });
  find("record").addEventListener("click", toggleRecording);
  // Anywhere on the page: who misses the frame shall not see the browser leave the page for the file.
  document.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  document.addEventListener("dragleave", (event) => event.relatedTarget || zone.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (model) receive(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => model && receive(event.clipboardData.files));
  find("gate").addEventListener("submit", async (event) => {
    event.preventDefault();
    keepToken(find("token").value);
    showFault(find("gate-fault"), (await open()) ? word("tokenWrong") : "");
    if (model) find("choose").focus();
  });
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => { setLanguage(button.dataset.language); speak(); });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => cards.forEach((card) => card.drawPicture()));
}

speak();
openDoors();
open();
