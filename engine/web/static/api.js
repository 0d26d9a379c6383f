// Requests to the server. The cookie that the page came with opens them.

/** What the server refused, in its own words. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Ask the server. Returns the JSON of its answer, or the response where that is of another type.
 * Throws Refused, or TypeError when the server is gone.
 */
export async function ask(path, options = {}) {
  const response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', ...options });
  const isJson = (response.headers.get('Content-Type') || '').startsWith('application/json');
  if (!response.ok) {
    const body = isJson ? await response.json() : {};
    throw new Refused(
      response.status,
      body.error || 'http',
      body.message || `The server answered ${response.status}.`,
    );
  }
  return isJson ? response.json() : response;
}
