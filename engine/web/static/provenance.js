// Say inside the files that they are synthetic: the IPTC digital source type, in each format's own place.

const SOURCE = 'http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia';
const NOTE = `Synthetic: a portrait animated by mimicam. DigitalSourceType=${SOURCE}`;
const XMP = `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" Iptc4xmpExt:DigitalSourceType="${SOURCE}" xmp:CreatorTool="mimicam"/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>`;
const text = (string) => new TextEncoder().encode(string);

function joined(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}

function uint32(value) {
  return new Uint8Array([value >>> 24, value >>> 16, value >>> 8, value].map((byte) => byte & 255));
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k += 1) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}

/** A PNG with an XMP packet behind its header (PNG, section 11.3.3.4, iTXt). */
export async function markPng(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const body = joined(text('iTXt'), text('XML:com.adobe.xmp\0\0\0\0\0'), text(XMP));
  const chunk = joined(uint32(body.length - 4), body, uint32(crc32(body)));
  const header = 33; // signature and IHDR
  return new Blob([bytes.subarray(0, header), chunk, bytes.subarray(header)], { type: 'image/png' });
}

/** An EBML element with a size of eight bytes (RFC 8794). */
function element(id, ...body) {
  const inner = joined(...body);
  return joined(new Uint8Array(id), new Uint8Array([1, 0, 0, 0]), uint32(inner.length), inner);
}

/** Where a sequence of bytes begins, or -1. */
function find(bytes, sequence) {
  return bytes.findIndex((_, i) => sequence.every((byte, k) => bytes[i + k] === byte));
}

const CLUSTER = [0x1f, 0x43, 0xb6, 0x75];
const SEEK_HEAD = [0x11, 0x4d, 0x9b, 0x74];
const HEAD_BYTES = 8192;

/** Tags before the first pictures, where players read them; at the end if the file has a table of positions. */
async function markWebm(blob) {
  const simple = (name, value) => element([0x67, 0xc8], element([0x45, 0xa3], text(name)), element([0x44, 0x87], text(value)));
  const tags = element([0x12, 0x54, 0xc3, 0x67], element([0x73, 0x73], element([0x63, 0xc0]), simple('COMMENT', NOTE)));
  const head = new Uint8Array(await blob.slice(0, HEAD_BYTES).arrayBuffer());
  const cluster = find(head, CLUSTER);
  const at = cluster < 0 || find(head.subarray(0, cluster), SEEK_HEAD) >= 0 ? blob.size : cluster;
  return new Blob([blob.slice(0, at), tags, blob.slice(at)], { type: blob.type });
}

/** A recording with tags (Matroska, RFC 9559, section 5.1.8), or with an XMP box (MP4). */
export async function markRecording(blob) {
  if (!blob.type.startsWith('video/mp4')) return markWebm(blob);
  const id = [0xbe, 0x7a, 0xcf, 0xcb, 0x97, 0xa9, 0x42, 0xe8, 0x9c, 0x71, 0x99, 0x94, 0x91, 0xe3, 0xaf, 0xac];
  const body = joined(text('uuid'), new Uint8Array(id), text(XMP));
  return new Blob([blob, uint32(body.length + 4), body], { type: blob.type });
}
