// The studio's page: puts the parts together.

import { slowness, usefulRate } from './advice.js';
import { Refused } from './api.js';
import * as camera from './camera.js';
import { $, kept, toast } from './dom.js';
import { Figures } from './figures.js';
import { Gallery, sentence } from './gallery.js';
import { Link, Unreachable } from './link.js';
import { measure } from './measure.js';
import { Recorder, snapshot } from './record.js';

const CHOICES = ['mode', 'framing'];
const LISTS = ['badge', 'background', 'expression_motion', 'pose_motion'];
const NUMBERS = ['expression_gain', 'pose_gain', 'height'];
const MODES = ['both', 'exp', 'pose'];
const PATIENCE = 8; // readings, half a second each, before a hint

const gallery = new Gallery();
const figures = new Figures();
const link = new Link(() => settings());
const recorder = new Recorder(() => figures.now.ageMs);
const shown = { standby: false, noFace: 0, slow: 0, rate: Infinity, stream: null, wasLive: false };

/** What the controls say, as the server wants it. */
function settings() {
  const values = { portrait: gallery.chosen, mirror: $('mirror').checked, standby: shown.standby };
  for (const name of LISTS) values[name] = $(name).value;
  for (const name of CHOICES)
    values[name] = document.querySelector(`input[name="${name}"]:checked`).value;
  for (const name of NUMBERS) values[name] = Number($(name).value);
  return values;
}

/** Bring the controls to what is known. */
function showSettings(values) {
  for (const name of CHOICES)
    if (values[name])
      document.querySelector(`input[name="${name}"][value="${CSS.escape(values[name])}"]`).checked =
        true;
  for (const name of NUMBERS) if (values[name] !== undefined) $(name).value = String(values[name]);
  for (const name of LISTS) if (values[name]) $(name).value = values[name];
  if (values.mirror !== undefined) $('mirror').checked = values.mirror;
  refreshLabels();
}

function refreshLabels() {
  document.querySelectorAll('.slider output').forEach((output) => {
    output.value = `${Math.round($(output.htmlFor.value).value * 100)} %`;
  });
  $('camera').classList.toggle('mirrored', $('mirror').checked);
  $('stage').dataset.badge = $('badge').value; // what is said over the picture keeps away from it
}

/** Something was changed by hand. */
function changed(name) {
  refreshLabels();
  const all = settings();
  kept.set('settings', { ...all, standby: undefined, portrait: undefined });
  link.send({ type: 'set', settings: { [name]: all[name] } });
}

function pill(state, text) {
  $('status').dataset.state = state;
  if ($('status-text').textContent !== text) $('status-text').textContent = text;
}

/** Say what went wrong, with a button for what to do. */
function notice(title, text, action, onAction) {
  $('notice-title').textContent = title;
  $('notice-text').textContent = text;
  $('notice-action').hidden = !action;
  $('notice-action').textContent = action || '';
  $('notice-action').onclick = onAction || null;
  $('notice').hidden = false;
}

const quiet = () => {
  $('notice').hidden = true;
};

/** Tell something once. */
function hint(name, text) {
  const seen = kept.get('hints', []);
  if (seen.includes(name) || !$('hint').hidden) return;
  kept.set('hints', [...seen, name]);
  $('hint-text').textContent = text;
  $('hint').hidden = false;
  setTimeout(() => {
    $('hint').hidden = true;
  }, 12_000);
}

/** A button that goes away takes the keyboard's place with it: hand that on. */
function passFocus(from, to) {
  if ([document.body, $(from)].includes(document.activeElement))
    $(to).focus({ preventScroll: true });
}

function setLive(on) {
  $('stage').dataset.live = String(on);
  document.querySelector('.show').dataset.idle = String(!on);
}

function enable(on) {
  for (const id of [
    'calibrate',
    'standby',
    'snapshot',
    'record',
    'share',
    'full',
    'measure',
    'from-camera',
  ])
    $(id).disabled = !on;
}

// ---- camera and connection

async function start() {
  quiet();
  $('start').disabled = true;
  pill('busy', 'Opening the camera');
  try {
    await openCamera(kept.get('camera', ''));
    await link.start(shown.stream.getVideoTracks()[0]);
  } catch (error) {
    cameraFailed(error);
  } finally {
    $('start').disabled = false;
  }
}

async function openCamera(deviceId) {
  const stream = await camera.open(deviceId);
  shown.stream?.getTracks().forEach((track) => track.stop());
  shown.stream = stream;
  const [track] = stream.getVideoTracks();
  if ('contentHint' in track) track.contentHint = 'motion';
  track.onended = () => cameraFailed({ name: 'AbortError' });
  $('camera').srcObject = stream;
  document.querySelector('.preview').dataset.live = 'true';
  $('stop').disabled = false;
  await camera.list($('cameras'), track.getSettings().deviceId);
  return track;
}

function cameraFailed(error) {
  stop();
  pill('bad', 'No camera');
  notice(...camera.inWords(error), 'Try again', start);
}

function stop() {
  recorder.stop();
  link.stop();
  shown.stream?.getTracks().forEach((track) => {
    track.onended = null;
    track.stop();
  });
  shown.stream = null;
  shown.wasLive = false;
  $('camera').srcObject = null;
  $('result').srcObject = null;
  document.querySelector('.preview').dataset.live = 'false';
  $('face').hidden = true;
  $('stop').disabled = true;
  setLive(false);
  enable(false);
  quiet();
  pill('idle', 'Ready');
  passFocus('stop', 'start');
}

async function switchCamera() {
  kept.set('camera', $('cameras').value);
  if (!shown.stream) return;
  try {
    await link.replace(await openCamera($('cameras').value));
  } catch (error) {
    cameraFailed(error);
  }
}

link.addEventListener('state', ({ detail }) => {
  const { state, error, tries } = detail;
  if (state === 'connecting') pill('busy', 'Connecting');
  if (state === 'live') {
    quiet();
    pill('busy', 'Waiting for the picture');
    figures.reset();
    shown.rate = Infinity;
  }
  if (state === 'waiting') {
    recorder.stop();
    pill('bad', 'Disconnected');
    waitingWords(error, tries);
  }
  if (state === 'refused') refusedWords(error);
  if (state !== 'live') enable(false);
});

function waitingWords(error, tries) {
  if (error instanceof Refused && error.code === 'full') {
    notice(
      'Every place is taken',
      `${sentence(error)} You are let in by yourself, as soon as there is room.`,
    );
  } else if (error instanceof Refused && error.code === 'draining') {
    notice(
      'The server is stopping',
      'It is being stopped or started again. This page comes back by itself when it runs.',
    );
  } else if (error instanceof Unreachable) {
    notice(
      'No pictures get through',
      'The server answers, but the video connection does not come about. A firewall or VPN between this browser and it blocks UDP, or this computer has no network at all.',
      'Try now',
      () => link.connect(),
    );
  } else if (error instanceof Refused) {
    notice('The server asks to wait', sentence(error));
  } else if (tries > 1 || !error) {
    notice(
      'Lost the server',
      'Trying again by itself. Is mimicam still running on its computer?',
      'Try now',
      () => link.connect(),
    );
  }
}

function refusedWords(error) {
  recorder.stop();
  pill('bad', 'Not connected');
  if (error.code === 'taken') {
    notice('Opened somewhere else', 'This studio runs in another tab now.', 'Use it here', () =>
      link.connect(),
    );
  } else if (error.status === 401) {
    notice(
      'The server has a new link',
      'It was started again. Open the link that it printed. (With --token the link stays the same.)',
      'Reload',
      () => location.reload(),
    );
  } else {
    notice('The server refused', sentence(error), 'Try again', () => link.connect());
  }
}

link.addEventListener('result', ({ detail }) => {
  $('result').srcObject = detail;
  $('result')
    .play()
    .catch(() => {
      /* muted video starts by itself; if not, the next tap starts it */
    });
});

$('result').addEventListener('resize', () => firstPicture());
$('result').addEventListener('loadeddata', () => firstPicture());

function firstPicture() {
  if (link.state !== 'live' && link.state !== 'connecting') return;
  setLive(true);
  enable(true);
  if (shown.wasLive) return;
  shown.wasLive = true;
  passFocus('start', 'calibrate');
  hint('calibrate', 'Look straight ahead with a relaxed face, then press Calibrate.');
}

link.addEventListener('message', ({ detail }) => {
  if (detail.type === 'figures') {
    figures.server = detail;
    judge(detail);
  }
  if (detail.type === 'error') {
    toast(sentence(new Refused(0, detail.error, detail.message)), true);
    if (detail.error === 'message' && /portrait/.test(detail.message))
      gallery.load().catch(() => {});
  }
});

/** Is there a face, is it fast enough: say it when it stays wrong. */
function judge(server) {
  const { face } = server;
  const words = {
    tracking: 'Face found',
    holding: 'Face lost',
    easing: 'Face lost',
    standby: 'No face',
  };
  $('face').hidden = shown.standby;
  $('face').dataset.state = face;
  $('face').textContent = words[face] || '';
  shown.noFace = face === 'tracking' || shown.standby ? 0 : shown.noFace + 1;
  const slow =
    figures.now.fps && !document.hidden
      ? slowness({
          server,
          shown: figures.now.fps,
          sent: figures.now.sent,
          limited: Number.isFinite(shown.rate),
          height: Number($('height').value),
        })
      : null;
  shown.slow = slow ? shown.slow + 1 : 0;
  pace(server);
  pill('live', shown.standby ? 'Standby' : face === 'tracking' ? 'Live' : 'Live, no face');
  if (shown.noFace > PATIENCE)
    notice(
      'No face in the camera picture',
      'Sit in front of the camera, with light on your face. Nothing of your own picture is shown meanwhile.',
    );
  else if (shown.slow > PATIENCE * 2)
    notice(slow.title, slow.text, slow.smaller && 'Use 256 lines', () => {
      $('height').value = '256';
      changed('height');
      shown.slow = 0;
    });
  else if (link.state === 'live') quiet();
}

/** Send no more pictures than the server can use; looked at every two seconds, which is how long its rates look back. */
function pace(server) {
  shown.readings = (shown.readings || 0) + 1;
  if (shown.readings % 4) return;
  const rate = usefulRate(server, shown.rate);
  if (rate !== shown.rate) link.limitRate(rate);
  shown.rate = rate;
}

// ---- actions

function calibrate() {
  if (link.send({ type: 'calibrate' })) toast('Calibrated: this is your neutral face.');
}

function standby() {
  shown.standby = !shown.standby;
  $('standby').setAttribute('aria-pressed', String(shown.standby));
  link.send({ type: 'set', settings: { standby: shown.standby } });
}

function record() {
  if (recorder.running) recorder.stop();
  else recorder.start($('result').srcObject, $('voice').checked);
}

async function share() {
  const background = $('transparent').checked ? '?background=none' : '';
  const url = `${location.origin}/view${background}#${link.view}`;
  try {
    await navigator.clipboard.writeText(url);
    toast('The OBS link is on the clipboard. It shows the result only.');
  } catch {
    prompt('Copy this link for OBS:', url);
  }
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if ($('stage').requestFullscreen) $('stage').requestFullscreen();
  else $('result').webkitEnterFullscreen?.(); // iPhone
}

async function exactly() {
  $('measure').disabled = true;
  scrollTo({ top: 0 }); // browsers do not draw videos that are out of sight
  $('measure-text').textContent = 'Measuring …';
  try {
    const estimate = figures.now.ageMs - figures.biasMs;
    const found = await measure(link, $('camera'), $('result'));
    if (found) figures.biasMs = found.p50 - estimate;
    $('measure-text').textContent = found
      ? `Camera picture to result on the screen: ${Math.round(found.p50)} ms (p50), ${Math.round(found.p95)} ms (p95), ${found.count} pictures.`
      : 'The number could not be read off the result. Keep camera and result in sight, and try again.';
  } finally {
    $('measure').disabled = link.state !== 'live';
  }
}

function nextMode() {
  const now = MODES.indexOf(settings().mode);
  showSettings({ mode: MODES[(now + 1) % MODES.length] });
  changed('mode');
}

function theme() {
  const dark =
    document.documentElement.dataset.theme === 'dark' ||
    (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'light' : 'dark';
  kept.set('theme', document.documentElement.dataset.theme);
}

async function stillOfCamera() {
  const video = $('camera');
  const canvas = Object.assign(document.createElement('canvas'), {
    width: video.videoWidth,
    height: video.videoHeight,
  });
  canvas.getContext('2d').drawImage(video, 0, 0);
  canvas.toBlob((blob) => gallery.add(blob, 'From the camera'), 'image/jpeg', 0.95);
}

function addFile(file) {
  if (!file) return;
  if (!file.type.startsWith('image/'))
    toast('That is no picture. Choose a JPEG, PNG or WebP.', true);
  else gallery.add(file, file.name.replace(/\.[^.]+$/, '') || 'My picture');
}

// ---- wiring

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $('help').open) return;
  if (event.target.closest('input:not([type="radio"]):not([type="checkbox"]), select, textarea'))
    return;
  const keys = { c: 'calibrate', s: 'standby', p: 'snapshot', r: 'record', l: 'share', f: 'full' };
  const key = event.key.toLowerCase();
  if (keys[key]) {
    if (!$(keys[key]).disabled) $(keys[key]).click();
  } else if (key === 'm') nextMode();
  else if (key === 'g') $('figures').open = !$('figures').open;
  else if (key === '?') $('help').showModal();
  else if (/^[1-9]$/.test(key)) gallery.pick(Number(key) - 1);
  else return;
  event.preventDefault();
}

function wire() {
  const clicks = {
    start,
    stop,
    calibrate,
    standby,
    record,
    share,
    full: fullScreen,
    measure: exactly,
    theme,
    'from-camera': stillOfCamera,
  };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener('click', action);
  $('snapshot').addEventListener('click', () => snapshot($('result')));
  $('upload').addEventListener('click', () => $('file').click());
  $('file').addEventListener('change', () => {
    addFile($('file').files[0]);
    $('file').value = '';
  });
  $('hint-close').addEventListener('click', () => {
    $('hint').hidden = true;
  });
  $('help-open').addEventListener('click', () => $('help').showModal());
  $('cameras').addEventListener('change', switchCamera);
  for (const name of CHOICES)
    document
      .querySelectorAll(`input[name="${name}"]`)
      .forEach((input) => input.addEventListener('change', () => changed(name)));
  for (const name of [...NUMBERS, ...LISTS, 'mirror'])
    $(name).addEventListener('input', () => changed(name));
  for (const name of ['voice', 'transparent'])
    $(name).addEventListener('change', () => kept.set(name, $(name).checked));
  gallery.addEventListener('choose', ({ detail }) =>
    link.send({ type: 'set', settings: { portrait: detail } }),
  );
  document.addEventListener('keydown', press);
  document.addEventListener('fullscreenchange', () =>
    (document.fullscreenElement ? $('over') : document.body).append($('toasts')),
  );
  navigator.mediaDevices?.addEventListener?.('devicechange', () =>
    camera.list($('cameras'), $('cameras').value),
  );
  addEventListener('pagehide', () => link.stop());
  addEventListener('beforeunload', (event) => recorder.busy && event.preventDefault()); // it would be lost
  setInterval(() => link.state === 'live' && figures.update(link.pc), 500);
  wireDrop();
}

function wireDrop() {
  const files = (event) => [...(event.dataTransfer?.types || [])].includes('Files');
  addEventListener('dragover', (event) => {
    if (files(event)) {
      event.preventDefault();
      $('drop').hidden = false;
    }
  });
  addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) $('drop').hidden = true;
  });
  addEventListener('drop', (event) => {
    $('drop').hidden = true;
    if (files(event)) {
      event.preventDefault();
      addFile(event.dataTransfer.files[0]);
    }
  });
}

async function begin() {
  const chosenTheme = kept.get('theme', '');
  if (chosenTheme) document.documentElement.dataset.theme = chosenTheme;
  if (location.search) history.replaceState(null, '', '/'); // the cookie opens the page from now on
  showSettings(kept.get('settings', {}));
  for (const name of ['voice', 'transparent']) $(name).checked = kept.get(name, false);
  document.querySelector('.show').dataset.idle = 'true';
  wire();
  try {
    await gallery.load();
  } catch (error) {
    notice('The portraits did not load', sentence(error), 'Reload', () => location.reload());
  }
  await camera.list($('cameras'));
}

begin();
if (navigator.webdriver) window.mimicam = { link, figures, recorder, gallery }; // for tests
