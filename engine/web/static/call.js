// The call: camera out, result in, and reactions to the server's messages.

import { slowness, usefulRate } from './advice.js';
import { HttpRefusal } from './api.js';
import * as camera from './camera.js';
import { readControls, refreshLabels, setControls } from './controls.js';
import { $, kept, toast } from './dom.js';
import { Stats } from './stats.js';
import { Gallery, sentence } from './gallery.js';
import { Link } from './link.js';
import { Recorder } from './record.js';
import * as states from './states.js';

const NO_FACE_READINGS = 8; // half a second each, before a notice
const SLOW_READINGS = 16;
const RATE_READINGS = 4; // two seconds, over which the server averages its rates

export const gallery = new Gallery();
export const stats = new Stats();
export const link = new Link(settings);
export const recorder = new Recorder(() => stats.now.ageMs);
const call = {
  standby: false,
  ownFace: false,
  noFace: 0,
  slow: 0,
  readings: 0,
  rate: Infinity,
  stream: null,
  wasLive: false,
};

/** Every setting, as the offer contains it. */
export function settings() {
  return { portrait: gallery.chosen, standby: call.standby, ...readControls() };
}

/** Store and send a setting that was changed by hand. */
export function changed(name) {
  refreshLabels();
  const all = settings();
  // One's own face is shown only after it was chosen in this page, never by a setting of before.
  const passing = { standby: undefined, portrait: undefined, own_face: undefined };
  kept.set('settings', { ...all, ...passing });
  link.send({ type: 'set', settings: { [name]: all[name] } });
}

/** Show the standby card, or the portrait again. */
export function toggleStandby() {
  call.standby = !call.standby;
  link.send({ type: 'set', settings: { standby: call.standby } });
  return call.standby;
}

// ---- camera

/** Open the camera and connect. */
export async function start() {
  states.quiet();
  $('start').disabled = true;
  states.pill('busy', 'Opening the camera');
  try {
    await openCamera(kept.get('camera', ''));
    await link.start(call.stream.getVideoTracks()[0]);
  } catch (error) {
    cameraFailed(error);
  } finally {
    $('start').disabled = false;
  }
}

async function openCamera(deviceId) {
  const stream = await camera.open(deviceId);
  call.stream?.getTracks().forEach((track) => track.stop());
  call.stream = stream;
  const [track] = stream.getVideoTracks();
  if ('contentHint' in track) track.contentHint = 'motion';
  track.onended = () => cameraFailed({ name: 'AbortError' });
  states.showCamera(stream);
  await camera.list($('cameras'), track.getSettings().deviceId);
  return track;
}

function cameraFailed(error) {
  stop();
  states.pill('bad', 'No camera');
  states.notice(...camera.inWords(error), 'Try again', start);
}

/** End the call and close the camera. */
export function stop() {
  recorder.stop();
  link.stop();
  call.stream?.getTracks().forEach((track) => {
    track.onended = null;
    track.stop();
  });
  call.stream = null;
  call.wasLive = false;
  states.showIdle();
}

/** Switch to the camera that was chosen in the list. */
export async function switchCamera() {
  kept.set('camera', $('cameras').value);
  if (!call.stream) return;
  try {
    await link.replace(await openCamera($('cameras').value));
  } catch (error) {
    cameraFailed(error);
  }
}

// ---- events of the link

/** Follow the connection's state. */
export function linkChanged({ state, error, tries }) {
  const connect = () => link.connect();
  if (state === 'connecting') states.pill('busy', 'Connecting');
  if (state === 'live') {
    states.quiet();
    states.pill('busy', 'Waiting for the picture');
    stats.reset();
    call.rate = Infinity;
  }
  if (state === 'waiting' || state === 'refused') recorder.stop();
  if (state === 'waiting') states.showWaiting(error, tries, connect);
  if (state === 'refused') states.showRefused(error, connect);
  if (state !== 'live') states.enable(false);
}

/** Play the result's stream. */
export function resultCame(stream) {
  $('result').srcObject = stream;
  $('result')
    .play()
    .catch(() => {
      /* muted video starts by itself, or at the next tap */
    });
}

/** Switch the page to live when a picture of the result has arrived. */
export function pictureCame() {
  if (link.state !== 'live' && link.state !== 'connecting') return;
  states.setLive(true);
  states.enable(true);
  if (call.wasLive) return;
  call.wasLive = true;
  states.passFocus('start', 'calibrate');
  states.hint('calibrate', 'Look straight ahead with a relaxed face, then press Calibrate.');
}

/** Handle a message of the server. */
export function messageCame(message) {
  if (message.type === 'stats') {
    stats.server = message;
    judge(message);
  }
  if (message.type === 'settings') {
    call.ownFace = message.settings.own_face;
    states.showOwnFace(call.ownFace);
  }
  if (message.type === 'error') {
    toast(sentence(new HttpRefusal(0, message.error, message.message)), true);
    // The server no longer has an uploaded portrait, so load its list again.
    if (message.error === 'message' && /portrait/.test(message.message)) {
      gallery.load().catch(() => {});
    }
  }
}

/** Show a notice when the face is missing or the call is slow for long. */
function judge(server) {
  const found = server.face === 'tracking' || call.standby;
  const slow = slownessNow(server);
  call.noFace = found ? 0 : call.noFace + 1;
  call.slow = slow ? call.slow + 1 : 0;
  limitRate(server);
  states.showFace(server.face, call.standby);
  if (call.noFace > NO_FACE_READINGS) {
    states.notice(
      'No face in the camera picture',
      call.ownFace
        ? 'Your picture is shown unchanged until your face is seen.'
        : 'Sit in front of the camera, with light on your face. Your own picture is never shown.',
    );
  } else if (call.slow > SLOW_READINGS) {
    states.notice(slow.title, slow.text, slow.smaller && 'Use 256 lines', useFewerLines);
  } else if (link.state === 'live') {
    states.quiet();
  }
}

function slownessNow(server) {
  const { fps, sent } = stats.now;
  if (!fps || document.hidden) return null; // browsers throttle hidden pages
  const limited = Number.isFinite(call.rate);
  return slowness({ server, shown: fps, sent, limited, height: Number($('height').value) });
}

function useFewerLines() {
  setControls({ height: 256 });
  changed('height');
  call.slow = 0;
}

/** Send no more pictures than the server can draw. */
function limitRate(server) {
  call.readings += 1;
  if (call.readings % RATE_READINGS) return;
  const rate = usefulRate(server, call.rate);
  if (rate !== call.rate) link.limitRate(rate);
  call.rate = rate;
}
