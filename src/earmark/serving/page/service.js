// How the page asks the service.

import { word } from "/page/words.js";

const KEPT = "earmark-token";
const TRIES = 5;

export class Problem extends Error {
  constructor(kind, sentence) {
    super(sentence);
    this.kind = kind;
  }
}

export function keepToken(token) {
  sessionStorage.setItem(KEPT, token);
}

export async function ask(address, file) {
  const token = sessionStorage.getItem(KEPT);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const form = new FormData();
  if (file) form.append("file", file);
  for (let attempt = 1; ; attempt++) {
    let answer;
    try {
      answer = await fetch(address, file ? { method: "POST", body: form, headers } : { headers });
    } catch {
      throw new Problem("unreachable", word("unreachable"));
    }
    if (answer.ok) return answer.json();
    const pause = Number(answer.headers.get("retry-after"));
    if (answer.status !== 503 || !pause || attempt === TRIES) throw await readProblem(answer);
    await new Promise((resolve) => setTimeout(resolve, 1000 * pause));
  }
}

async function readProblem(answer) {
  try {
    const problem = await answer.json();
    return new Problem(problem.type.split("#")[1], problem.detail);
  } catch {
    return new Problem("failed", `${answer.status} ${answer.statusText}`);
  }
}
