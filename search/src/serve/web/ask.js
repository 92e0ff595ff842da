// Asking the server. A failure is always an object with `code` and `text`.

let word = "";

export const keepWord = (token) => { word = token; };

async function answer(request) {
  let response;
  try {
    response = await request;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw { code: "network", text: "the server does not answer" };
  }
  let document;
  try {
    document = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw { code: "network", text: `the server answers ${response.status} without a word` };
  }
  if (!response.ok) throw document.error || { code: "network", text: `the server answers ${response.status}` };
  return document;
}

/** What is at a path. Given up when the signal says so, whereupon the server gives up too. */
export const ask = (path, params, signal) => answer(fetch(`${path}?${params}`, { signal }));

/** Changes something. */
export function change(method, path, document) {
  const headers = { "content-type": "application/json", "x-logdrive-token": word };
  return answer(fetch(path, { method, headers, body: JSON.stringify(document) }));
}
