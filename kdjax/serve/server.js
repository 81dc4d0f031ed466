// What the page asks of the server.

async function answered(body) {
  let size = 0;
  for (const value of body.values()) size += value.size ?? value.length;
  if (size > Number(form.dataset.most)) {
    throw new Error(
      `The inputs are larger than the limit of ${form.dataset.most} bytes.`);
  }
  const response = await fetched("predict", {method: "POST", body});
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function fetched(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("The server does not answer.");
  }
}

// Examples of the test split

async function loadExample(button) {
  let example;
  try {
    const response = await fetched(`examples/${button.dataset.example}`);
    example = await response.json();
  } catch (error) {
    say(error.message, true);
    return;
  }
  for (const input of form.querySelectorAll("[name]")) {
    fill(input, example.inputs[input.name], button.textContent);
  }
  forgetExample();
  button.setAttribute("aria-current", "true");
  truth = example.label;
  predict();
}

function fill(input, value, number) {
  const kind = input.closest("[data-kind]").dataset.kind;
  if (input.type === "file") {
    const [type, ending] =
      kind === "image" ? ["image/png", "png"] : ["audio/wav", "wav"];
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    put(input, value &&
      new File([bytes(value)], `example ${number}.${ending}`, {type}));
  } else if (value === undefined || typeof value === "string") {
    input.value = value ?? "";
  } else if (kind === "array") {
    input.value = JSON.stringify(value);
  } else {
    input.value = [value].flat().join(kind === "sequence" ? "\n" : ", ");
  }
}

examples.forEach((button) =>
  button.addEventListener("click", () => loadExample(button)));
