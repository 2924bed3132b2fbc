// What the page says, in English and in Chinese.

const english = {
  skip: "Skip to the content",
  kicker: "Earmark · what does it hear?",
  language: "Language",
  entrance: "Sounds to hear",
  drop: "Drop sounds here",
  which: "Which sound is it?",
  choose: "Choose files",
  record: "Record",
  stop: (seconds) => `Stop · ${seconds}`,
  recordingName: (time) => `Recording ${time}`,
  recordingNow: "Recording. Press again to stop.",
  formats: (megabytes, duration) => `WAV, FLAC, MP3, M4A, Ogg, WebM, the sound of videos and more, up to ${megabytes} MB and ${duration}.`,
  reject: "Say “unknown” where no class is sure enough",
  results: "Answers",
  private: "The sounds go to this service, stay in its memory while it listens, and nowhere else.",
  docs: "For programs: the service’s addresses",
  remove: "Remove this sound",
  model: (classes, rate, window) => `${classes} classes · hears ${window} at a time · ${rate}`,
  classes: (count) => `The ${count} classes`,
  waiting: "Waiting for its turn …",
  listening: "Listening …",
  looking: "Looking for events …",
  unknown: "Unknown",
  unknownWhy: "Nothing is sure enough here. This is what comes nearest:",
  noneOfMany: "None of its labels",
  barsCaption: (file) => `Probabilities for ${file}`,
  more: (count) => `Show all ${count}`,
  fewer: "Show fewer",
  unplayable: "This browser cannot play this format; the picture and the answer are right all the same.",
  whenTitle: (count) => `${count} ${count === 1 ? "event" : "events"} in a table`,
  noEvents: "No class was sure enough to mark an event.",
  begin: "from",
  end: "to",
  label: "label",
  score: "highest score",
  save: "Save as CSV",
  play: (label, begin, end, score) => `Play ${label}, ${begin} to ${end}, ${score}`,
  pictureOf: (duration, highest) => `Waveform and mel spectrogram, ${duration}, up to ${highest}.`,
  answered: (file, label, score) => `${file}: ${label}, ${score}.`,
  answeredUnknown: (file) => `${file}: unknown.`,
  eventsFound: (file, count) => `${file}: ${count} ${count === 1 ? "event" : "events"}.`,
  refused: (file) => `${file} could not be heard.`,
  tokenLabel: "This service asks for a token.",
  tokenSend: "Open",
  tokenWrong: "That is not the token.",
  unreachable: "The service does not answer. Is it still running?",
  noMicrophone: "No microphone can be used here. Allow it in the browser, or plug one in.",
  insecure: "Browsers give out the microphone only to https pages and to http://localhost. Open the page there, or choose a file.",
  seconds: (value) => `${value} s`,
  minutes: (value) => `${value} min`,
  hours: (value) => `${value} h`,
  problems: {},
};

const chinese = {
  skip: "跳到正文",
  kicker: "Earmark · 听听这是什么声音",
  language: "语言",
  entrance: "要听的声音",
  drop: "把声音文件拖到这里",
  which: "这是什么声音？",
  choose: "选择文件",
  record: "录音",
  stop: (seconds) => `停止 · ${seconds}`,
  recordingName: (time) => `录音 ${time}`,
  recordingNow: "正在录音，再按一次停止。",
  formats: (megabytes, duration) => `支持 WAV、FLAC、MP3、M4A、Ogg、WebM 以及视频里的声音等格式，最大 ${megabytes} MB，最长 ${duration}。`,
  reject: "哪一类都没把握时，回答“未知”",
  results: "结果",
  private: "声音只发给这个服务，听的时候留在内存里，不会存盘，也不会传到别处。",
  docs: "给程序用的接口",
  remove: "移除这个声音",
  model: (classes, rate, window) => `${classes} 个类别 · 每次听 ${window} · ${rate}`,
  classes: (count) => `全部 ${count} 个类别`,
  waiting: "排队中……",
  listening: "正在听……",
  looking: "正在找出每一段……",
  unknown: "未知",
  unknownWhy: "哪一类都没有足够的把握。最接近的是：",
  noneOfMany: "没有任何标签",
  barsCaption: (file) => `${file} 属于各类的概率`,
  more: (count) => `显示全部 ${count} 个`,
  fewer: "收起",
  unplayable: "这个浏览器放不了这种格式，但图和结果都没有问题。",
  whenTitle: (count) => `用表格看这 ${count} 段`,
  noEvents: "没有哪一类有足够的把握标出一段。",
  begin: "开始",
  end: "结束",
  label: "标签",
  score: "最高概率",
  save: "存为 CSV",
  play: (label, begin, end, score) => `播放“${label}”，${begin} 到 ${end}，${score}`,
  pictureOf: (duration, highest) => `波形和梅尔谱，时长 ${duration}，最高 ${highest}。`,
  answered: (file, label, score) => `${file}：${label}，${score}。`,
  answeredUnknown: (file) => `${file}：未知。`,
  eventsFound: (file, count) => `${file}：找到 ${count} 段。`,
  refused: (file) => `${file} 没法听。`,
  tokenLabel: "这个服务需要令牌。",
  tokenSend: "进入",
  tokenWrong: "令牌不对。",
  unreachable: "服务没有回应，它还在运行吗？",
  noMicrophone: "用不了麦克风。请在浏览器里允许使用，或者接上一个。",
  insecure: "浏览器只让 https 页面和 http://localhost 使用麦克风。请换成这样的地址打开，或者选择文件。",
  seconds: (value) => `${value} 秒`,
  minutes: (value) => `${value} 分钟`,
  hours: (value) => `${value} 小时`,
  // The service explains itself in English; this says in Chinese what kind of trouble it is.
  problems: {
    "unreadable": "这个声音读不了：文件可能坏了，也可能不是声音。",
    "no-answer": "模型对这个声音给不出结果。",
    "wrong-value": "有一项设置的值不对。",
    "no-file": "没有收到声音。",
    "incomplete": "没有传完整，请再试一次。",
    "token": "令牌不对，或者没有令牌。",
    "too-slow": "传得太慢，服务没有等到。",
    "too-large": "文件太大了。",
    "too-long": "声音太长了。",
    "wrong-type": "这不是声音文件。",
    "failed": "服务出错了，详情见它的日志。",
    "busy": "服务正忙，请过一会儿再试。",
  },
};

const languages = { en: english, zh: chinese };
const KEPT = "earmark-language";

function choose() {
  const kept = localStorage.getItem(KEPT);
  if (kept in languages) return kept;
  const wished = (navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2).toLowerCase());
  return wished.find((tag) => tag in languages) ?? "en";
}

export let language = choose();

export function setLanguage(chosen) {
  language = chosen;
  localStorage.setItem(KEPT, chosen);
}

export function word(name, ...values) {
  const found = languages[language][name];
  return typeof found === "function" ? found(...values) : found;
}

/** What a kind of problem is in the page's language; nothing where the service's own sentence will do. */
export function explain(kind) {
  return languages[language].problems[kind] ?? "";
}

export function nameDuration(seconds) {
  if (seconds >= 3600) return word("hours", round(seconds / 3600));
  if (seconds >= 120) return word("minutes", round(seconds / 60));
  return word("seconds", round(seconds));
}

/** How long a sound is, to the second from a minute on. */
export function nameLength(seconds) {
  return seconds < 60 ? word("seconds", round(seconds)) : nameClock(Math.round(seconds));
}

/** Whole seconds as a clock shows them. */
export function nameClock(seconds) {
  const pad = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return (hours ? `${hours}:${pad(minutes)}` : `${minutes}`) + `:${pad(seconds % 60)}`;
}

/** A moment, to a tenth of a second. */
export function nameTime(seconds) {
  const tenths = Math.round(10 * seconds);
  return `${nameClock(Math.floor(tenths / 10))}.${tenths % 10}`;
}

export function namePercent(score) {
  return new Intl.NumberFormat(language === "zh" ? "zh-CN" : "en", {
    style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1,
  }).format(score);
}

export function nameFrequency(hertz) {
  return hertz >= 1000 ? `${round(hertz / 1000)} kHz` : `${round(hertz)} Hz`;
}

function round(value) {
  return String(Number(value.toPrecision(3)));
}
