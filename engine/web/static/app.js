// The studio's page: restores the settings, connects the events and loads the gallery.

import { gallery, link, recorder, stats } from './call.js';
import * as camera from './camera.js';
import { restoreControls } from './controls.js';
import { $, kept } from './dom.js';
import { sentence } from './gallery.js';
import { notice, setLive } from './states.js';
import { wire } from './wiring.js';

function restore() {
  const theme = kept.get('theme', '');
  if (theme) document.documentElement.dataset.theme = theme;
  if (location.search) history.replaceState(null, '', '/'); // the cookie replaces the token
  restoreControls();
  setLive(false);
}

async function begin() {
  restore();
  wire();
  try {
    await gallery.load();
  } catch (error) {
    notice('The portraits did not load', sentence(error), 'Reload', () => location.reload());
  }
  await camera.list($('cameras'));
}

begin();
if (navigator.webdriver) window.mimicam = { link, stats, recorder, gallery }; // for tests
