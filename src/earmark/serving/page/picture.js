// The waveform and the mel spectrogram of a sound, on a canvas; the numbers come from the service, which decodes.

import { MAGMA } from "/page/magma.js";
import { nameClock, nameFrequency, word } from "/page/words.js";

export const LEFT = 46, RIGHT = 48; // as on all of Earmark's pages
const TOP = 6, WAVE = 72, GAP = 14, MEL = 168, BELOW = 24;
export const PLOT_HEIGHT = TOP + WAVE + GAP + MEL;
const HEIGHT = PLOT_HEIGHT + BELOW;
const TICK_GAP = 15;

function unpack(text, kind) {
  return new kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

/** Make a picture ready to be drawn at any size. */
export function readPicture(sent, seconds) {
  const mel = unpack(sent.mel, Uint8Array);
  const image = new OffscreenCanvas(sent.columns, sent.bands);
  const pixels = new ImageData(sent.columns, sent.bands);
  for (let band = 0; band < sent.bands; band++) {
    for (let column = 0; column < sent.columns; column++) {
      const colour = 3 * mel[band * sent.columns + column];
      const place = 4 * ((sent.bands - 1 - band) * sent.columns + column);
      pixels.data.set([MAGMA[colour], MAGMA[colour + 1], MAGMA[colour + 2], 255], place);
    }
  }
  image.getContext("2d").putImageData(pixels, 0, 0);
  return { ...sent, seconds, image, low: unpack(sent.low, Int8Array), high: unpack(sent.high, Int8Array) };
}

export function drawPicture(canvas, picture) {
  const width = canvas.clientWidth, scale = Math.min(3, window.devicePixelRatio || 1);
  if (!width) return;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(HEIGHT * scale);
  canvas.style.height = `${HEIGHT}px`;
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  pen.scale(scale, scale);
  pen.font = `11px ${style.fontFamily}`;
  const colours = { ink: style.getPropertyValue("--ink"), muted: style.getPropertyValue("--muted"),
    line: style.getPropertyValue("--line"), accent: style.getPropertyValue("--accent") };
  const plot = { pen, colours, width: width - LEFT - RIGHT, picture };
  drawWave(plot);
  drawMel(plot);
  drawSeconds(plot);
  drawDecibels(plot);
}

function drawWave({ pen, colours, width, picture }) {
  const middle = TOP + WAVE / 2, half = WAVE / 2;
  const columns = picture.low.length, span = columns * picture.column_s / picture.seconds * width;
  pen.fillStyle = colours.line;
  pen.fillRect(LEFT, middle - 0.5, width, 1);
  pen.fillStyle = colours.accent;
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, TOP, width, WAVE);
  pen.clip();
  for (let x = 0; x < width; x++) {
    // All columns that this pixel covers, so that no peak is lost on a narrow screen.
    const first = Math.floor(x / span * columns);
    const last = Math.max(first + 1, Math.ceil((x + 1) / span * columns));
    let low = 127, high = -127;
    for (let column = first; column < Math.min(last, columns); column++) {
      low = Math.min(low, picture.low[column]);
      high = Math.max(high, picture.high[column]);
    }
    if (high >= low) pen.fillRect(LEFT + x, middle - high / 127 * half - 0.4, 1, (high - low) / 127 * half + 0.8);
  }
  pen.restore();
  const peak = Number(picture.peak.toPrecision(2));
  label(pen, colours, LEFT - 6, TOP + 4, `${peak}`, "right");
  label(pen, colours, LEFT - 6, middle, "0", "right");
  label(pen, colours, LEFT - 6, TOP + WAVE - 4, `−${peak}`, "right");
}

function drawMel({ pen, colours, width, picture }) {
  const top = TOP + WAVE + GAP;
  pen.imageSmoothingEnabled = true;
  pen.imageSmoothingQuality = "high";
  pen.fillStyle = `rgb(${MAGMA[0]} ${MAGMA[1]} ${MAGMA[2]})`;
  pen.fillRect(LEFT, top, width, MEL);
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, top, width, MEL);
  pen.clip();
  // A column stands for the spectra around its moment, so the first is centred on the beginning.
  const span = picture.columns * picture.column_s / picture.seconds * width;
  pen.drawImage(picture.image, LEFT, top, span, MEL);
  pen.restore();
  const melPerBand = toMel(picture.highest_hz) / (picture.bands + 1);
  let lowest = Infinity;
  for (let hertz = 125 * 2 ** Math.floor(Math.log2(picture.highest_hz / 125)); hertz >= 125; hertz /= 2) {
    const height = (toMel(hertz) / melPerBand - 0.5) / picture.bands * MEL;
    if (height > MEL || lowest - height < TICK_GAP) continue;
    lowest = height;
    label(pen, colours, LEFT - 6, Math.max(top + 4, top + MEL - height), nameFrequency(hertz), "right");
  }
}

function drawSeconds({ pen, colours, width, picture }) {
  const step = chooseStep(picture.seconds / Math.max(3, width / 70));
  const minutes = picture.seconds >= 120;
  const last = Math.floor(picture.seconds / step + 1e-6);
  for (let number = 0; number <= last; number++) {
    const seconds = number * step, x = LEFT + seconds / picture.seconds * width;
    pen.fillStyle = colours.muted;
    pen.fillRect(Math.min(x, LEFT + width - 1), PLOT_HEIGHT, 1, 4);
    const shown = minutes ? nameClock(seconds) : String(Number(seconds.toPrecision(6)));
    const named = number === last && !minutes ? word("seconds", shown) : shown;
    label(pen, colours, x, PLOT_HEIGHT + 13, named, "center");
  }
}

function drawDecibels({ pen, colours, width, picture }) {
  const left = LEFT + width + 10, top = TOP + WAVE + GAP;
  for (let y = 0; y < MEL; y++) {
    const colour = 3 * Math.round(255 * (1 - y / (MEL - 1)));
    pen.fillStyle = `rgb(${MAGMA[colour]} ${MAGMA[colour + 1]} ${MAGMA[colour + 2]})`;
    pen.fillRect(left, top + y, 7, 1);
  }
  for (let level = 0; level >= -picture.range_db; level -= 20) {
    const y = Math.min(Math.max(top + 4, top - level / picture.range_db * MEL), top + MEL - 4);
    label(pen, colours, left + 12, y, level ? `−${-level}` : "0 dB", "left");
  }
}

function label(pen, colours, x, y, text, align) {
  pen.fillStyle = colours.muted;
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.fillText(text, x, y);
}

/** Slaney's mel scale: linear up to 1 kHz, logarithmic above. */
function toMel(hertz) {
  return hertz < 1000 ? hertz * 3 / 200 : 15 + Math.log(hertz / 1000) / (Math.log(6.4) / 27);
}

function chooseStep(least) {
  const round = [1, 2, 5, 10].map((step) => step * 10 ** Math.floor(Math.log10(least)));
  const steps = least > 5 ? [10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600] : round;
  return steps.find((step) => step >= least) ?? 3600;
}
