// Requests to the server. The cookie that came with the page authorises them.

/** A refusal of the server, with its message. */
export class HttpRefusal extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Send a request. Returns the JSON of the answer, or the response if it is of another type.
 * Throws HttpRefusal, or TypeError if the server cannot be reached.
 */
export async function ask(path, options = {}) {
  const response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', ...options });
  const isJson = (response.headers.get('Content-Type') || '').startsWith('application/json');
  if (!response.ok) {
    const body = isJson ? await response.json() : {};
    throw new HttpRefusal(
      response.status,
      body.error || 'http',
      body.message || `The server answered ${response.status}.`,
    );
  }
  return isJson ? response.json() : response;
}
