// The result alone, for OBS: a WHEP client that reconnects by itself.
// Its key is in the link's fragment.

import { gathered, withoutDelay } from './link.js';

const RETRY_MS = 2000;
const STALLED_MS = 8000;
const video = document.getElementById('result');
const words = document.getElementById('words');
const key = location.hash.slice(1);
let peer;
let seen = performance.now();

document.documentElement.classList.toggle(
  'transparent',
  new URLSearchParams(location.search).get('background') === 'none',
);

const say = (text) => {
  words.textContent = text;
};

async function watch() {
  peer?.close();
  const pc = (peer = new RTCPeerConnection({ iceServers: [] }));
  const { receiver } = pc.addTransceiver('video', { direction: 'recvonly' });
  withoutDelay(receiver);
  pc.onconnectionstatechange = () =>
    ['failed', 'disconnected'].includes(pc.connectionState) && again(pc);
  await pc.setLocalDescription(await pc.createOffer());
  await gathered(pc);
  const headers = {
    'Content-Type': 'application/sdp',
    ...(key && { Authorization: `Bearer ${key}` }),
  };
  const response = await fetch('/whep', { method: 'POST', headers, body: pc.localDescription.sdp });
  if (!response.ok)
    throw Object.assign(new Error(String(response.status)), { status: response.status });
  await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  // Not earlier, since a stream without pictures keeps the page loading.
  video.srcObject = new MediaStream([receiver.track]);
  seen = performance.now();
}

function again(pc) {
  if (pc !== peer) return;
  say('The connection was lost. Reconnecting …');
  setTimeout(begin, RETRY_MS);
}

async function begin() {
  try {
    await watch();
    say('');
  } catch (error) {
    const lines = {
      401: 'This link is no longer valid. Copy it again in the studio.',
      403: 'This studio shows results to the driver only.',
      404: 'Waiting for the driver …',
      503: 'Too many viewers. Waiting for a place …',
    };
    say(lines[error.status] || 'The server does not answer. Reconnecting …');
    setTimeout(begin, RETRY_MS);
  }
}

// A killed server does not close the connection. Reconnect after a while without any bytes.
const tick = () => {
  seen = performance.now();
  say('');
  video.requestVideoFrameCallback?.(tick);
};
video.requestVideoFrameCallback?.(tick);
setInterval(async () => {
  if (performance.now() - seen < STALLED_MS || !peer) return;
  seen = performance.now();
  const alive =
    peer.connectionState === 'connected' && (await peer.getStats().then(heard, () => false));
  if (!alive) begin();
}, 2000);

let lastBytes = -1;
function heard(report) {
  let bytes = 0;
  report.forEach((stat) => {
    if (stat.type === 'transport' || stat.type === 'candidate-pair')
      bytes += stat.bytesReceived || 0;
  });
  const more = bytes > lastBytes;
  lastBytes = bytes;
  return more;
}

addEventListener('pagehide', () => peer?.close());
begin();
