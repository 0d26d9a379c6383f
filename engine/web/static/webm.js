// Adds tags and a duration to WebM files, since browsers record neither.
// The formats are EBML (RFC 8794) and Matroska (RFC 9559).

const SEGMENT = 0x18538067;
const SEEK_HEAD = 0x114d9b74;
const INFO = 0x1549a966;
const TIMESTAMP_SCALE = 0x2ad7b1;
const DURATION = 0x4489;
const CLUSTER = 0x1f43b675;
const TAGS = 0x1254c367;
const TAG = 0x7373;
const TARGETS = 0x63c0;
const SIMPLE_TAG = 0x67c8;
const TAG_NAME = 0x45a3;
const TAG_STRING = 0x4487;
const HEAD_BYTES = 65_536;
const SCALE_NS = 1_000_000; // nanoseconds per tick, the default of the format

const text = (string) => new TextEncoder().encode(string);

/** Concatenate arrays of bytes. */
export function joined(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A number as big-endian bytes. */
function big(value, count) {
  const out = new Uint8Array(count);
  for (let i = count - 1; i >= 0; i -= 1) {
    out[i] = value % 256;
    value = Math.floor(value / 256);
  }
  return out;
}

const idBytes = (id) => big(id, Math.ceil(Math.log2(id + 1) / 8));

/** An element. Its size always takes eight bytes. */
function element(id, ...body) {
  const inner = joined(...body);
  return joined(idBytes(id), [1], big(inner.length, 7), inner);
}

/**
 * The element at an offset: {id, start, body, size, end}, or null if its header is truncated.
 * Size and end are Infinity where the file has no size.
 */
function elementAt(bytes, start) {
  const idLength = Math.clz32(bytes[start]) - 23;
  const sizeAt = start + idLength;
  const sizeLength = Math.clz32(bytes[sizeAt]) - 23;
  const body = sizeAt + sizeLength;
  if (!(body <= bytes.length) || idLength > 4 || sizeLength > 8) return null;
  const number = (from, to, first) =>
    bytes.subarray(from + 1, to).reduce((sum, byte) => sum * 256 + byte, first);
  const known = bytes[sizeAt] & (0xff >> sizeLength);
  const unknown =
    known === 0xff >> sizeLength && bytes.subarray(sizeAt + 1, body).every((byte) => byte === 0xff);
  const size = unknown ? Infinity : number(sizeAt, body, known);
  return { id: number(start, sizeAt, bytes[start]), start, body, size, end: body + size };
}

/** The elements between two offsets, up to the first cluster. */
function elements(bytes, from, to) {
  const found = [];
  for (let at = from; at < Math.min(to, bytes.length);) {
    const next = elementAt(bytes, at);
    if (!next) break;
    found.push(next);
    if (next.id === CLUSTER) break;
    at = next.end;
  }
  return found;
}

/** The segment's Info element, with a duration. */
function timed(bytes, info, seconds) {
  const children = elements(bytes, info.body, info.end);
  const scale = children.find((child) => child.id === TIMESTAMP_SCALE);
  const scaleNs = scale
    ? bytes.subarray(scale.body, scale.end).reduce((sum, byte) => sum * 256 + byte, 0)
    : SCALE_NS;
  const ticks = new Uint8Array(8);
  new DataView(ticks.buffer).setFloat64(0, (seconds * 1e9) / scaleNs);
  const kept = children
    .filter((child) => child.id !== DURATION)
    .map((child) => bytes.subarray(child.start, child.end));
  return element(INFO, ...kept, element(DURATION, ticks));
}

/**
 * Add tags to a recording and, where it has none, its duration.
 *
 * Both are inserted before the first cluster, where every player reads them. A file with a seek
 * head is already finished. There the tags go to the end, so that all offsets stay valid.
 */
export async function withTags(blob, tags, seconds) {
  const head = new Uint8Array(await blob.slice(0, HEAD_BYTES).arrayBuffer());
  const written = element(
    TAGS,
    element(
      TAG,
      element(TARGETS),
      ...Object.entries(tags).map(([name, value]) =>
        element(SIMPLE_TAG, element(TAG_NAME, text(name)), element(TAG_STRING, text(value))),
      ),
    ),
  );
  const segment = elements(head, 0, Infinity).find((one) => one.id === SEGMENT);
  if (!segment) throw new Error('the browser did not record WebM');
  const inside = elements(head, segment.body, segment.end);
  const cluster = inside.find((one) => one.id === CLUSTER);
  if (!cluster || inside.some((one) => one.id === SEEK_HEAD)) {
    const size =
      segment.size === Infinity
        ? head.subarray(segment.start, segment.body)
        : joined(idBytes(SEGMENT), [1], big(segment.size + written.length, 7));
    return new Blob([head.subarray(0, segment.start), size, blob.slice(segment.body), written], {
      type: blob.type,
    });
  }
  const before = inside
    .filter((one) => one !== cluster)
    .map((one) =>
      one.id === INFO ? timed(head, one, seconds) : head.subarray(one.start, one.end),
    );
  const size =
    segment.size === Infinity
      ? Infinity
      : segment.size - (cluster.start - segment.body) + joined(...before, written).length;
  const opening = joined(
    idBytes(SEGMENT),
    [1],
    size === Infinity ? new Uint8Array(7).fill(0xff) : big(size, 7),
  );
  return new Blob(
    [head.subarray(0, segment.start), opening, ...before, written, blob.slice(cluster.start)],
    { type: blob.type },
  );
}
