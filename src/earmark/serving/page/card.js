// One sound on the page: what it is, what it looks like, what is heard when.

import { drawPicture, LEFT, PLOT_HEIGHT, readPicture, RIGHT } from "/page/picture.js";
import { explain, nameFrequency, nameLength, namePercent, nameTime, word } from "/page/words.js";

const BARS = 5;
const LONG = 1.5; // windows: a longer sound gets a timeline

export class Card {
  constructor(file, template, onRemove) {
    this.file = file;
    this.stage = "waiting";
    this.allShown = false;
    this.root = template.content.firstElementChild.cloneNode(true);
    this.find = (selector) => this.root.querySelector(selector);
    this.find(".name").textContent = file.name;
    this.url = URL.createObjectURL(file);
    this.find(".remove").addEventListener("click", () => { this.close(); onRemove(this); });
    this.find(".more").addEventListener("click", () => { this.allShown = !this.allShown; this.drawBars(); });
    this.listenToPlayer();
    this.resizing = new ResizeObserver(() => this.drawPicture());
    this.resizing.observe(this.find("canvas"));
    this.draw();
  }

  close() {
    this.closed = true;
    this.find("audio").pause();
    this.resizing.disconnect();
    URL.revokeObjectURL(this.url);
    this.root.remove();
  }

  isLong(window) {
    return this.answer.duration_s > LONG * window;
  }

  setStage(stage) {
    this.stage = stage;
    this.draw();
  }

  setAnswer(answer) {
    this.answer = answer;
    this.picture = readPicture(answer.picture, answer.duration_s);
    this.find("audio").src = this.url;
    this.setStage("done");
  }

  setEvents(events) {
    this.events = events;
    this.setStage("done");
  }

  setProblem(problem) {
    this.problem = problem;
    this.setStage("refused");
  }

  /** Everything anew: the stage or the language is another. */
  draw() {
    const waiting = { waiting: word("waiting"), listening: word("listening"), looking: word("looking") }[this.stage];
    show(this.find(".waiting"), waiting);
    this.find(".remove").setAttribute("aria-label", `${word("remove")}: ${this.file.name}`);
    this.root.setAttribute("aria-busy", String(Boolean(waiting)));
    this.drawProblem();
    this.find(".body").hidden = !this.answer;
    if (!this.answer) return;
    this.find(".length").textContent = nameLength(this.answer.duration_s);
    this.drawHeadline();
    this.drawBars();
    this.drawPicture();
    this.drawEvents();
    show(this.find(".warning"), this.answer.warning);
    this.find(".warning").lang = "en";
    show(this.find(".unplayable"), this.unplayable && word("unplayable"));
  }

  drawProblem() {
    const place = this.find(".fault");
    place.hidden = !this.problem;
    if (!this.problem) return;
    place.replaceChildren();
    const own = explain(this.problem.kind);
    if (own) place.append(make("p", own));
    const sentence = make("p", this.problem.message);
    if (own) sentence.className = "small";
    if (this.problem.kind !== "unreachable") sentence.lang = "en";
    place.append(sentence);
  }

  get prediction() {
    return this.answer.rejected ? this.answer.prediction.slice(1) : this.answer.prediction;
  }

  drawHeadline() {
    const first = this.prediction[0], rejected = this.answer.rejected;
    this.find(".headline strong").textContent = rejected ? word("unknown") : first.label;
    this.find(".headline .sure").textContent = rejected ? "" : namePercent(first.score);
    show(this.find(".unknown"), rejected && word("unknownWhy"));
  }

  drawBars() {
    const shown = this.allShown ? this.prediction : this.prediction.slice(0, BARS);
    this.find(".bars caption").textContent = word("barsCaption", this.file.name);
    this.find(".bars tbody").replaceChildren(...shown.map(({ label, score }) => {
      const row = document.createElement("tr"), bar = document.createElement("td");
      const name = make("th", label);
      name.scope = "row";
      name.title = label;
      bar.append(make("span", "", "bar"));
      bar.firstChild.append(document.createElement("span"));
      bar.firstChild.firstChild.style.width = `${100 * score}%`;
      bar.setAttribute("aria-hidden", "true");
      row.append(name, bar, make("td", namePercent(score)));
      return row;
    }));
    const more = this.find(".more");
    more.hidden = this.prediction.length <= BARS;
    more.textContent = this.allShown ? word("fewer") : word("more", this.prediction.length);
    more.setAttribute("aria-expanded", String(this.allShown));
  }

  drawPicture() {
    if (!this.picture) return;
    const canvas = this.find("canvas");
    const duration = nameLength(this.answer.duration_s);
    canvas.setAttribute("aria-label", word("pictureOf", duration, nameFrequency(this.picture.highest_hz)));
    drawPicture(canvas, this.picture);
    this.find(".playhead").style.height = `${PLOT_HEIGHT}px`;
    this.movePlayhead();
  }

  drawEvents() {
    const lanes = this.find(".lanes"), details = this.find(".events");
    details.hidden = !this.events?.length;
    lanes.replaceChildren();
    if (!this.events) return;
    if (!this.events.length) {
      lanes.append(make("p", word("noEvents"), "small"));
      return;
    }
    const labels = [...new Set(this.events.map((event) => event.label))];
    lanes.append(...labels.map((label) => this.buildLane(label)));
    this.drawEventTable(details);
  }

  buildLane(label) {
    const lane = make("div", "", "lane"), track = make("div", "", "track");
    for (const event of this.events.filter((found) => found.label === label)) {
      const button = make("button", "");
      const name = word("play", label, nameTime(event.start_s), nameTime(event.end_s), namePercent(event.score));
      button.type = "button";
      button.title = name;
      button.setAttribute("aria-label", name);
      button.style.left = `${100 * event.start_s / this.answer.duration_s}%`;
      button.style.width = `${100 * (event.end_s - event.start_s) / this.answer.duration_s}%`;
      button.style.opacity = 0.45 + 0.55 * event.score;
      button.addEventListener("click", () => this.play(event, button));
      track.append(button);
    }
    lane.append(make("p", label), track);
    return lane;
  }

  drawEventTable(details) {
    details.querySelector("summary").textContent = word("whenTitle", this.events.length);
    details.querySelector("thead tr").replaceChildren(...["begin", "end", "label", "score"].map((name) => {
      const head = make("th", word(name), name === "label" ? "" : "figures");
      head.scope = "col";
      return head;
    }));
    details.querySelector("tbody").replaceChildren(...this.events.map((event) => {
      const row = document.createElement("tr");
      row.append(make("td", nameTime(event.start_s), "figures"), make("td", nameTime(event.end_s), "figures"),
        make("td", event.label), make("td", namePercent(event.score), "figures"));
      return row;
    }));
    const save = details.querySelector(".save");
    save.textContent = word("save");
    save.download = `${this.file.name.replace(/\.[^.]*$/, "")}-events.csv`;
    save.href = `data:text/csv;charset=utf-8,${encodeURIComponent(writeCsv(this.events))}`;
  }

  listenToPlayer() {
    const audio = this.find("audio");
    audio.addEventListener("error", () => {
      if (this.closed) return;
      this.unplayable = true;
      audio.hidden = true;
      this.draw();
    });
    const follow = () => {
      this.movePlayhead();
      if (this.endsAt && audio.currentTime >= this.endsAt) audio.pause();
      if (!audio.paused) requestAnimationFrame(follow);
    };
    audio.addEventListener("play", follow);
    audio.addEventListener("seeking", follow);
    audio.addEventListener("pause", () => this.forgetEvent());
    this.find(".picture").addEventListener("click", (click) => {
      if (this.unplayable) return;
      const box = this.find("canvas").getBoundingClientRect();
      const share = (click.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
      this.forgetEvent();
      audio.currentTime = Math.min(Math.max(share, 0), 1) * this.answer.duration_s;
      audio.play();
    });
  }

  play(event, button) {
    if (this.unplayable) return;
    const audio = this.find("audio");
    this.forgetEvent();
    audio.currentTime = event.start_s;
    this.endsAt = event.end_s;
    button.classList.add("playing");
    audio.play();
  }

  forgetEvent() {
    this.endsAt = 0;
    this.root.querySelectorAll(".playing").forEach((button) => button.classList.remove("playing"));
  }

  movePlayhead() {
    const audio = this.find("audio"), head = this.find(".playhead");
    const share = Math.min(1, audio.currentTime / this.answer.duration_s);
    head.hidden = !share;
    head.style.left = `${LEFT + share * (this.find("canvas").clientWidth - LEFT - RIGHT)}px`;
  }
}

function writeCsv(events) {
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = events.map((event) => [event.start_s, event.end_s, quote(event.label), event.score].join(","));
  return ["start_s,end_s,label,score", ...rows, ""].join("\n");
}

function make(kind, text, className = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  element.className = className;
  return element;
}

function show(element, text) {
  element.hidden = !text;
  element.textContent = text || "";
}
