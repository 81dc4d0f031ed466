"use strict";

const form = document.getElementById("form");
const status_ = document.getElementById("status");
const examples = [...document.querySelectorAll("[data-example]")];
const LONGEST = 30;  // seconds of a recording

let asked = 0;    // number of the last question; older answers are dropped
let truth = "";   // label of the example that is shown

function say(text, wrong = false) {
  status_.textContent = text;
  status_.classList.toggle("wrong", wrong);
}

function forgetExample() {
  truth = "";
  examples.forEach((button) => button.removeAttribute("aria-current"));
}

// Puts a file into a file input, or takes it away, and shows it.
function put(input, file) {
  const held = new DataTransfer();
  if (file) held.items.add(file);
  input.files = held.files;
  show(input);
}

function show(input) {
  const preview = input.parentElement.querySelector(".preview");
  if (!preview) return;
  URL.revokeObjectURL(preview.src);
  const file = input.files[0];
  preview.hidden = !file;
  if (file) preview.src = URL.createObjectURL(file);
  else preview.removeAttribute("src");
}

// Small images are shown with hard pixels.
for (const image of document.querySelectorAll("img.preview")) {
  image.addEventListener("load", () =>
    image.classList.toggle("small", image.naturalWidth < 112));
}

// `answered` is of the other script: {stages: {name: ..}}; it throws a reason.
async function predict() {
  const number = ++asked;
  say("Computing …");
  let answer = {}, reason = "";
  try {
    answer = await answered(new FormData(form));
  } catch (error) {
    reason = error.message;
  }
  if (number !== asked) return;
  for (const section of document.querySelectorAll("[data-stage]")) {
    showStage(section, answer.stages?.[section.dataset.stage]);
  }
  if (reason) say(reason, true);
  else say(truth ? `True label: ${truth}` : "Done.");
}

// Shows what a stage says; without an answer, nothing.
function showStage(section, answer = {}) {
  const used = answer.inputs ?? [];
  for (const sense of section.querySelectorAll("[data-sense]")) {
    const key = sense.dataset.sense;
    const isAbsent = answer.missing?.includes(key) ||
      (answer.inputs && !used.includes(key));
    sense.className = isAbsent ? "absent" : used.includes(key) ? "used" : "";
  }
  const bars = section.querySelector(".bars");
  const time = section.querySelector(".time");
  if (!answer.inputs) {
    bars.replaceChildren();
    time.textContent = answer.missing
      ? `Needs: ${answer.missing.join(", ")}.` : "No prediction.";
    return;
  }
  const isValue = "value" in section.dataset;
  const found = answer[section.dataset.result];
  if (typeof found === "string") {
    bars.replaceChildren(sentence(found));
    time.textContent = `${answer.milliseconds.toFixed(1)} ms`;
    return;
  }
  let results = Object.entries(found);
  if (!isValue) results.sort((one, other) => other[1] - one[1]);
  results = results.slice(0, Number(form.dataset.top));
  bars.replaceChildren(...results.map((it) => bar(...it, isValue)));
  time.textContent = `${answer.milliseconds.toFixed(1)} ms`;
}

// A text that a student wrote.
function sentence(text) {
  const item = document.createElement("li");
  item.classList.toggle("true", truth !== "" && truth === text);
  item.textContent = text || "(nothing)";
  return item;
}

function bar(name, value, isValue) {
  const item = document.createElement("li");
  item.classList.toggle("true", truth !== "" && truth === name);
  const add = (parent, className, text) => {
    const element = document.createElement("span");
    element.className = className;
    element.textContent = text;
    parent.append(element);
    return element;
  };
  add(item, "name", name);
  if (value === null) add(item, "number", "not finite");
  else if (isValue) add(item, "number", value.toPrecision(5));
  else add(item, "number", `${(100 * value).toFixed(1)} %`);
  if (!isValue) {
    add(add(item, "bar", ""), "", "").style.width = `${100 * value}%`;
  }
  return item;
}

// Sounds: recorded, or of a format that kdjax does not read

async function asWav(blob) {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    return wav(mono(sound), sound.sampleRate);
  } finally {
    context.close();
  }
}

function mono(sound) {
  const wave = new Float32Array(sound.length);
  for (let i = 0; i < sound.numberOfChannels; i++) {
    sound.getChannelData(i).forEach((x, at) => {
      wave[at] += x / sound.numberOfChannels;
    });
  }
  return wave;
}

function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) =>
    [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);  // integers
  view.setUint16(22, 1, true);  // one channel
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(
    44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(32768 * x))), true));
  return new File([view], "recording.wav", {type: "audio/wav"});
}

async function record(button) {
  const input = document.getElementById(button.dataset.record);
  if (button.recorder) {
    button.recorder.stop();
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({audio: true});
  } catch (error) {
    say(`No microphone: ${error.message}`, true);
    return;
  }
  const chunks = [];
  const recorder = new MediaRecorder(stream);
  const limit = setTimeout(() => recorder.stop(), 1000 * LONGEST);
  recorder.ondataavailable = (event) => chunks.push(event.data);
  recorder.onstop = async () => {
    clearTimeout(limit);
    stream.getTracks().forEach((track) => track.stop());
    button.recorder = null;
    button.textContent = "Record";
    button.setAttribute("aria-pressed", "false");
    try {
      put(input, await asWav(new Blob(chunks)));
    } catch (error) {
      say(`The recording cannot be read: ${error.message}`, true);
      return;
    }
    forgetExample();
    predict();
  };
  button.recorder = recorder;
  button.textContent = "Stop";
  button.setAttribute("aria-pressed", "true");
  say("Recording …");
  recorder.start();
}

async function chosen(input, file) {
  const isSound = input.closest("[data-kind]").dataset.kind === "audio";
  if (file && isSound && !/\.(wav|flac|ogg|oga|mp3)$/i.test(file.name)) {
    // What the browser cannot read either, the answer says.
    file = await asWav(file).catch(() => file);
  }
  put(input, file);
  forgetExample();
  if (file) predict();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
for (const input of form.querySelectorAll("[type=file]")) {
  const area = input.closest(".drop");
  input.addEventListener("change", () => chosen(input, input.files[0]));
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    area.addEventListener(name, (event) => {
      event.preventDefault();
      area.classList.toggle("over", /enter|over/.test(name));
      if (name === "drop") chosen(input, event.dataTransfer.files[0]);
    });
  }
}
for (const text of form.querySelectorAll("textarea")) {
  text.addEventListener("input", forgetExample);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) predict();
  });
}
for (const button of document.querySelectorAll("[data-clear]")) {
  button.addEventListener("click", () => {
    const input = document.getElementById(button.dataset.clear);
    if (input.type === "file") put(input, null);
    else input.value = "";
    forgetExample();
    input.focus();
  });
}
for (const button of document.querySelectorAll("[data-record]")) {
  // Only https and this machine's own addresses have a microphone.
  button.disabled = !navigator.mediaDevices;
  button.addEventListener("click", () => record(button));
}
