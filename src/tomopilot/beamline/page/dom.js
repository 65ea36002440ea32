// Small steps on the page, and JSON of the service.

export const $ = (id) => document.getElementById(id);

export function text(id, value) {
  if ($(id).textContent !== value) $(id).textContent = value;
}

export const label = (id, value) => $(id).setAttribute("aria-label", value);

export const element = (tag, content = "", name = "") =>
  Object.assign(document.createElement(tag), { textContent: content, className: name });

export async function read(path) {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error(`${path}: status ${reply.status}`);
  return reply.json();
}
