// Actions of buttons and keys.

import { changed, gallery, link, recorder, settings, stats, toggleStandby } from './call.js';
import { choicesOf, setControls } from './controls.js';
import { $, kept, make, toast } from './dom.js';
import { measure } from './measure.js';
import { pressPreset } from './presets.js';

/** The key of each button. */
const BUTTON_KEYS = {
  c: 'calibrate',
  t: 'other-face',
  s: 'standby',
  p: 'snapshot',
  r: 'record',
  l: 'share',
  f: 'full',
};

/** Use the face of this moment as the neutral one. */
export function calibrate() {
  if (link.send({ type: 'calibrate' })) toast('Calibrated: this is your neutral face.');
}

/** Follow another face in the camera's picture. */
export function otherFace() {
  if (link.send({ type: 'select_face' })) toast('The next face in your picture is followed.');
}

/** Switch the standby card on or off. */
export function standby() {
  $('standby').setAttribute('aria-pressed', String(toggleStandby()));
}

/** Start or stop a recording. */
export function record() {
  if (recorder.running) recorder.stop();
  else recorder.start($('result').srcObject, $('voice').checked);
}

/** Copy the link with which OBS shows the result. */
export async function share() {
  const background = $('transparent').checked ? '?background=none' : '';
  const url = `${location.origin}/view${background}#${link.view}`;
  try {
    await navigator.clipboard.writeText(url);
    toast('The OBS link is on the clipboard. It shows the result only.');
  } catch {
    prompt('Copy this link for OBS:', url);
  }
}

/** Switch full screen on or off. */
export function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if ($('stage').requestFullscreen) $('stage').requestFullscreen();
  else $('result').webkitEnterFullscreen?.(); // iPhone
}

/** Measure the frame age by painted numbers, and correct the estimate by the difference. */
export async function measureAge() {
  $('measure').disabled = true;
  scrollTo({ top: 0 }); // browsers do not draw videos outside of the window
  $('measure-text').textContent = 'Measuring …';
  try {
    const estimate = stats.now.ageMs - stats.biasMs;
    const found = await measure(link, $('camera'), $('result'));
    if (found) stats.biasMs = found.p50 - estimate;
    $('measure-text').textContent = measuredWords(found);
  } finally {
    $('measure').disabled = link.state !== 'live';
  }
}

function measuredWords(found) {
  if (!found) {
    return (
      'The number could not be read in the result. ' +
      'Keep camera and result visible, and try again.'
    );
  }
  const [p50, p95] = [Math.round(found.p50), Math.round(found.p95)];
  const pictures = `${found.count} pictures`;
  return `Camera picture to result on the screen: ${p50} ms (p50), ${p95} ms (p95), ${pictures}.`;
}

/** Switch between light and dark. */
export function theme() {
  const page = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  page.dataset.theme = (page.dataset.theme || system) === 'dark' ? 'light' : 'dark';
  kept.set('theme', page.dataset.theme);
}

/** Make a portrait of the camera's picture. */
export function stillOfCamera() {
  const video = $('camera');
  const canvas = make('canvas', { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  canvas.toBlob((blob) => gallery.add(blob, 'From the camera'), 'image/jpeg', 0.95);
}

/** Make a portrait of a file that was chosen or dropped. */
export function addFile(file) {
  if (!file) return;
  // Browsers that cannot read HEIC state no type for it.
  if (!file.type.startsWith('image/') && !/\.(hei[cf]|hif|avif|tiff?)$/i.test(file.name)) {
    toast('This file is not a picture. Choose a JPEG, PNG, WebP or HEIC.', true);
  } else {
    gallery.add(file, file.name.replace(/\.[^.]+$/, '') || 'My picture');
  }
}

function nextMode() {
  const modes = choicesOf('mode');
  const now = modes.indexOf(settings().mode);
  setControls({ mode: modes[(now + 1) % modes.length] });
  changed('mode');
}

/** Handle a key, unless an input has the focus or the browser uses the key. */
export function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $('help').open) return;
  const typing = 'input:not([type="radio"]):not([type="checkbox"]), select, textarea';
  if (event.target.closest(typing)) return;
  if (pressed(event.key.toLowerCase())) event.preventDefault();
}

/** Returns whether the key has an action. */
function pressed(key) {
  const button = BUTTON_KEYS[key];
  if (button) {
    if (!$(button).disabled) $(button).click();
  } else if (key === 'm') nextMode();
  else if (key === 'g') $('stats').open = !$('stats').open;
  else if (key === '?') $('help').showModal();
  else if (/^[1-9]$/.test(key)) gallery.pick(Number(key) - 1);
  else return pressPreset(key);
  return true;
}
