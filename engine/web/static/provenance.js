// Marks files as synthetic with the IPTC digital source type, as each format defines it.
//
// The term is "composite with trained algorithmic media" and not "trained algorithmic media":
// a trained network moves and completes the pixels of a photograph.
// engine/sinks/video_writer.py writes the same in Python.

import { joined, withTags } from './webm.js';

const SOURCE =
  'http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia';
const NOTE = `Synthetic: a portrait animated by mimicam. DigitalSourceType=${SOURCE}`;
const XMP = [
  '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>',
  '<x:xmpmeta xmlns:x="adobe:ns:meta/">',
  '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
  '<rdf:Description rdf:about=""',
  ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"',
  ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"',
  ` Iptc4xmpExt:DigitalSourceType="${SOURCE}" xmp:CreatorTool="mimicam"/>`,
  '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>',
].join('');
const XMP_BOX = [
  0xbe, 0x7a, 0xcf, 0xcb, 0x97, 0xa9, 0x42, 0xe8, 0x9c, 0x71, 0x99, 0x94, 0x91, 0xe3, 0xaf, 0xac,
];
const PNG_HEADER = 33; // signature and IHDR
const text = (string) => new TextEncoder().encode(string);

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

/**
 * A PNG with an XMP packet behind its header.
 * The chunk is PNG's iTXt (section 11.3.3.4), the keyword XMP's (part 3, 1.1.5).
 */
export async function markPng(blob) {
  const body = joined(text('iTXt'), text('XML:com.adobe.xmp\0\0\0\0\0'), text(XMP));
  const chunk = joined(uint32(body.length - 4), body, uint32(crc32(body)));
  return new Blob([blob.slice(0, PNG_HEADER), chunk, blob.slice(PNG_HEADER)], {
    type: 'image/png',
  });
}

/** Add an XMP box at the end of an MP4 (XMP, part 3, 1.2.7.3), so that no offset changes. */
function markMp4(blob) {
  const body = joined(text('uuid'), XMP_BOX, text(XMP));
  return new Blob([blob, uint32(body.length + 4), body], { type: blob.type });
}

/** Mark a recording of this duration. WebM also gets the duration, which browsers omit. */
export async function markRecording(blob, seconds) {
  if (blob.type.startsWith('video/mp4')) return markMp4(blob);
  return withTags(
    blob,
    { COMMENT: NOTE, DIGITAL_SOURCE_TYPE: SOURCE, ENCODER: 'mimicam' },
    seconds,
  );
}
