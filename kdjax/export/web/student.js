// The student in the browser, by ONNX Runtime Web: what `kdjax serve` does in
// Python, with the same numbers. `student.run({image: [[..]]})` is for scripts.

const NOT_HTTP = "A browser loads no model from an opened file, since modules" +
  " and WebAssembly need HTTP. Put this folder on any web server, or run" +
  " `python -m http.server` in it and open the address that it prints.";
const MOST_PIXELS = 2 ** 26;
const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array,
  uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array,
  bool: Uint8Array,
};

const loaded = load();
loaded.then(
  () => { if (!asked) say("Ready."); },
  (error) => say(error.message, true));

window.student = {
  async run(inputs) {
    const {outputs} = await (await loaded).run(inputs);
    return outputs;
  },
};

async function load() {
  if (location.protocol === "file:") throw new Error(NOT_HTTP);
  say("Loading the student …");
  const [ort, about] = await Promise.all([
    import("./ort.wasm.bundle.min.mjs"), fetchedJson("student.json")]);
  ort.env.wasm.numThreads = 1;  // more need headers that few file hosts send
  const session = await ort.InferenceSession.create(
    "student.onnx", {executionProviders: ["wasm"], logSeverityLevel: 3});
  const readers = {};
  for (const [key, {file, padding}] of Object.entries(about.tokenizers)) {
    const field = document.getElementsByName(key)[0];
    if (!field.disabled) {
      readers[key] = readerOf(await fetchedJson(file), padding);
    }
  }
  const one = new Student(ort, session, about.signature, readers);
  // The first run is slower than others.
  await one.run(Object.fromEntries(one.inputs.map((it) =>
    [it.key, new Array(sizeOf(it.shape)).fill(it.low ?? 0)])));
  return one;
}

async function fetchedJson(name) {
  const response = await fetch(name);
  if (!response.ok) {
    throw new Error(`${name} is not beside this page. Export it again.`);
  }
  return response.json();
}

async function answered(body) {
  return (await loaded).answer(body);
}

class Student {
  constructor(ort, session, signature, readers) {
    Object.assign(this, {ort, session, signature, readers});
    this.inputs = signature.inputs;
    this.last = Promise.resolve();
  }

  // Outputs of one example as flat arrays, and the milliseconds. Inputs are
  // flat or nested, as in Python: "image", "mask/text", "has/text".
  run(given) {
    const feeds = this.feeds(given);
    // A session computes one batch at a time.
    this.last = this.last.catch(() => {}).then(async () => {
      const start = performance.now();
      const tensors = await this.session.run(feeds);
      const milliseconds = performance.now() - start;
      const outputs = {};
      for (const [name, tensor] of Object.entries(tensors)) {
        outputs[name] = Array.from(tensor.data, Number);
      }
      return {outputs, milliseconds};
    });
    return this.last;
  }

  feeds(given) {
    const feeds = {};
    const add = (name, dtype, shape, values) => {
      // The model has no input that its outputs do not depend on.
      if (!this.session.inputNames.includes(name)) return;
      const array = dtype === "int64"
        ? BigInt64Array.from(values, BigInt)
        : ARRAYS[dtype].from(values, Number);
      feeds[name] = new this.ort.Tensor(dtype, array, [1, ...shape]);
    };
    for (const it of this.inputs) {
      const size = sizeOf(it.shape);
      const isThere = given[it.key] !== undefined;
      const values = isThere ? flat(given[it.key]) : new Array(size).fill(0);
      if (!isThere && !it.optional) throw new Error(`'${it.key}' is missing.`);
      if (isThere) check(it, values);
      add(it.key, it.dtype, it.shape, values);
      if (it.mask) {
        const whole = new Array(sizeOf(it.mask)).fill(isThere);
        add(`mask/${it.key}`, "bool", it.mask,
          flat(given[`mask/${it.key}`] ?? whole));
      }
      if (it.optional) {
        add(`has/${it.key}`, "bool", [], [given[`has/${it.key}`] ?? isThere]);
      }
    }
    return feeds;
  }

  // What the page shows, of the fields of its form.
  async answer(body) {
    const given = {}, inputs = [];
    for (const it of this.inputs) {
      const value = body.get(it.key);
      const isEmpty = value instanceof File ? !value.name : !value?.trim();
      if (isEmpty) continue;
      inputs.push(it.key);
      try {
        const [array, mask] = await DECODED[it.kind](
          it, value, this.readers[it.key]);
        given[it.key] = array;
        if (mask) given[`mask/${it.key}`] = mask;
      } catch (error) {
        throw new Error(`'${it.key}': ${error.message}.`);
      }
    }
    if (!inputs.length) throw new Error("No input is given.");
    const missing = this.inputs.map((it) => it.key).filter((key, at) =>
      !this.inputs[at].optional && !inputs.includes(key));
    const {name, results} = this.signature;
    if (missing.length) return {stages: {[name]: {missing}}};
    const {outputs, milliseconds} = await this.run(given);
    const said = {};
    for (const it of results) {
      said[it.name] = Object.fromEntries(outputs[it.name].map((value, at) =>
        [it.classes[at] ?? at, Number.isFinite(value) ? value : null]));
    }
    return {stages: {[name]: {...said, inputs, milliseconds}}};
  }
}

function sizeOf(shape) {
  return shape.reduce((product, side) => product * side, 1);
}

function flat(values) {
  return ArrayBuffer.isView(values) ? values : [values].flat(Infinity);
}

function check(it, values) {
  const shape = `${it.dtype} [${it.shape.join(", ")}]`;
  if (values.length !== sizeOf(it.shape)) {
    throw new Error(
      `'${it.key}' has ${values.length} numbers. Expected ${shape}.`);
  }
  const slack = it.low === null ? 0 : (it.high - it.low) / 1000;
  const wrong = values.find((x) => !Number.isFinite(Number(x)) ||
    (it.low !== null && (x < it.low - slack || x > it.high + slack)));
  if (wrong !== undefined) {
    const range = it.low === null ? "" : ` of ${it.low} to ${it.high}`;
    throw new Error(`'${it.key}' has a value ${wrong}. Expected ${shape}${range}.`);
  }
}

// Decoding, as kdjax/preprocess does it: [array, mask], without a mask if all
// positions are there

const DECODED = {
  image: imageOf, audio: soundOf, text: textOf, sequence: sequenceOf,
  numbers: numbersOf, array: nestedOf,
};

async function imageOf(it, file) {
  const [height, width, channels] = it.shape;
  if (it.decoding.range && await isDeep(file)) {
    throw new Error("an image of 16 bits in a stated range needs a server");
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(
      file, {imageOrientation: "from-image", colorSpaceConversion: "none"});
  } catch {
    throw new Error("not an image that this browser reads");
  }
  if (bitmap.width * bitmap.height > MOST_PIXELS) {
    throw new Error(`an image of ${bitmap.width}x${bitmap.height} pixels, ` +
      `above the limit of ${MOST_PIXELS}`);
  }
  const whole = pixelsOf(bitmap, channels);
  const size = [bitmap.height, bitmap.width];
  bitmap.close();
  const fitted = resized(
    whole, ...size, channels, height, width, it.decoding.fit !== "stretch");
  if (it.dtype === "uint8") return [fitted];
  const low = it.low ?? 0, high = it.high ?? 1;
  return [Float32Array.from(fitted, (x) => low + x / 255 * (high - low))];
}

async function isDeep(file) {
  const start = new Uint8Array(await file.slice(0, 25).arrayBuffer());
  return start[1] === 0x50 && start[2] === 0x4e && start[24] === 16;  // of PNG
}

// Transparency becomes white; grey has the weights of Pillow's "L".
function pixelsOf(bitmap, channels) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = new Uint8Array(data.length / 4 * channels);
  for (let from = 0, to = 0; from < data.length; from += 4, to += channels) {
    const red = data[from], green = data[from + 1], blue = data[from + 2];
    if (channels === 1) {
      pixels[to] = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
    } else {
      [pixels[to], pixels[to + 1], pixels[to + 2]] = [red, green, blue];
    }
  }
  return pixels;
}

// Pillow's bicubic resampling. A canvas has another in every browser, and
// small images would be other images. Pillow may begin with the columns, which
// rounds by one level otherwise.
function resized(pixels, height, width, channels, toHeight, toWidth, isCrop) {
  if (height === toHeight && width === toWidth) return pixels;
  let [wide, high] = [width, height];
  const ratio = toWidth / toHeight;
  if (isCrop && width / height > ratio) wide = ratio * height;
  else if (isCrop) high = width / ratio;
  const left = Math.fround((width - wide) / 2);
  const top = Math.fround((height - high) / 2);
  const across = weightsOf(width, left, Math.fround(left + wide), toWidth);
  const down = weightsOf(height, top, Math.fround(top + high), toHeight);
  const turned = linesResized(pixels, height, width, channels, across);
  return linesResized(turned, toWidth, height, channels, down);
}

// For each of `count` positions between two places of a line: the first value
// that it is made of, and the weights in fixed point.
function weightsOf(length, from, to, count) {
  const scale = (to - from) / count, wide = Math.max(scale, 1);
  return Array.from({length: count}, (_, at) => {
    const centre = from + (at + .5) * scale;
    const first = Math.max(0, Math.trunc(centre - 2 * wide + .5));
    const end = Math.min(length, Math.trunc(centre + 2 * wide + .5));
    const weights = Array.from({length: end - first}, (_, place) =>
      cubic((first + place - centre + .5) / wide));
    const sum = weights.reduce((one, other) => one + other, 0);
    const fixed = weights.map((x) => Math.trunc(
      x / sum * 2 ** 22 + (x < 0 ? -.5 : .5)));
    return {first, weights: Int32Array.from(fixed)};
  });
}

function cubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -.5 : 0;
}

// Each line of an image resampled; lines of the result are its columns.
function linesResized(pixels, lines, length, channels, positions) {
  const made = new Uint8ClampedArray(positions.length * lines * channels);
  let to = 0;
  for (const {first, weights} of positions) {
    for (let line = 0; line < lines; line++) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 2 ** 21, from = (line * length + first) * channels + channel;
        for (const weight of weights) {
          sum += weight * pixels[from];
          from += channels;
        }
        made[to++] = sum >> 22;
      }
    }
  }
  return made;
}

async function soundOf(it, file) {
  const {sample_rate: rate, scale} = it.decoding;
  if ((scale ?? 1) !== 1) throw new Error("sounds in a scale need a server");
  let sound;
  try {
    // Decoding resamples to the rate of its context.
    sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(
      await file.arrayBuffer());
  } catch (error) {
    throw new Error(`no sound that this browser reads (${error.message})`);
  }
  const wave = new Float32Array(it.shape[0]);
  wave.set(mono(sound).subarray(0, wave.length));
  if (it.dtype !== "int16") return [wave];
  return [Int16Array.from(wave, (x) =>
    Math.max(-32768, Math.min(32767, Math.round(32768 * x))))];
}

// A reader of the tokenizers of words and of characters that kdjax trains.
function readerOf(tokenizer, padding) {
  const {vocab, unk_token: unknown} = tokenizer.model;
  const isWords = tokenizer.normalizer !== null;
  const pattern = new RegExp(tokenizer.pre_tokenizer.pattern.Regex, "gu");
  const known = new Map(Object.entries(vocab));
  return (text, length) => {
    const plain = isWords ? text.normalize("NFC").toLowerCase() : text;
    const words = (plain.match(pattern) ?? []).slice(0, length);
    const ids = words.map((word) => known.get(word) ?? vocab[unknown]);
    return {count: ids.length, ids: Array.from({length}, (_, at) =>
      ids[at] ?? padding)};
  };
}

function textOf(it, text, reader) {
  const length = it.shape.at(-1);
  const {count, ids} = reader(text, length);
  if (!count) throw new Error("a text without a word");
  // Of several captions, the first is given.
  const array = new Array(sizeOf(it.shape)).fill(0);
  ids.forEach((id, at) => { array[at] = id; });
  return [array, array.map((_, at) => at < count)];
}

function isNumber(cell) {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(cell);
}

function sequenceOf(it, text) {
  const [steps, features] = it.shape;
  let rows = text.replace(/^\ufeff/, "").split(/\r\n|\r|\n/)
    .filter((line) => line)
    .map((line) => line.split(",").map((cell) =>
      cell.trim().replace(/^"(.*)"$/, "$1")));
  if (rows.length > 1 && !rows[0].every(isNumber)) rows = rows.slice(1);
  for (const row of rows) {
    const wrong = row.find((cell) => !isNumber(cell));
    if (wrong !== undefined) throw new Error(`'${wrong}' is no number`);
    if (row.length !== features) {
      throw new Error(`a step of ${row.length} numbers, expected ${features}`);
    }
  }
  if (!it.mask && rows.length < steps) {
    throw new Error(`a sequence of ${rows.length} steps, expected ${steps}`);
  }
  const array = new Float32Array(steps * features);
  array.set(rows.slice(0, steps).flat().map(Number));
  const mask = Array.from({length: steps}, (_, at) => at < rows.length);
  return [array, it.mask ? mask : null];
}

function numbersOf(it, text) {
  const cells = text.split(/[,\n]/).map((cell) => cell.trim())
    .filter((cell) => cell);
  const wrong = cells.find((cell) => !isNumber(cell));
  if (wrong !== undefined) throw new Error(`'${wrong}' is no number`);
  const count = sizeOf(it.shape);
  if (cells.length !== count) {
    throw new Error(`${cells.length} numbers, expected ${count}`);
  }
  return [cells.map(Number)];
}

function nestedOf(it, text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("no JSON");
  }
  const fits = (part, [side, ...rest]) => side === undefined
    ? typeof part === "number"
    : Array.isArray(part) && part.length === side &&
      part.every((one) => fits(one, rest));
  if (!fits(value, it.shape)) {
    throw new Error(`no nested lists of numbers [${it.shape.join(", ")}]`);
  }
  return [[value].flat(Infinity)];
}
