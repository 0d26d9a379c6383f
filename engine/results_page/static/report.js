'use strict';
// Sorts the figures, and plays the videos of a card in step.

const DRIFT_S = 0.08; // about two frames at 25 frames/s; a smaller difference cannot be seen
const STEP_S = 0.04; // a frame at 25 frames/s
const SPEEDS = [0.25, 0.5, 1, 2];

function make(name, properties = {}, children = []) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// ---- sorting

function compared(a, b) {
  // Numbers by size, texts by the alphabet, unknown values last in either direction.
  const numbers = [a, b].map(Number);
  if (numbers.every(Number.isFinite)) return numbers[0] - numbers[1];
  return a.localeCompare(b, undefined, { numeric: true });
}

function sortBy(table, column, down) {
  const value = (row) => row.children[column].dataset.value;
  const rows = [...table.tBodies[0].rows].sort((first, second) => {
    const [a, b] = [value(first), value(second)];
    if (!a || !b) return Number(!a) - Number(!b);
    return down ? compared(b, a) : compared(a, b);
  });
  table.tBodies[0].append(...rows);
  document
    .getElementById('cards')
    .append(...rows.map((row) => document.getElementById(row.dataset.card)));
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector('button').addEventListener('click', () => {
      const down = heading.getAttribute('aria-sort') === 'ascending';
      headings.forEach((other) => other.removeAttribute('aria-sort'));
      heading.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      sortBy(table, column, down);
    });
  });
}

// ---- playing

function clock(seconds) {
  const whole = Math.floor(seconds);
  const tenths = Math.floor((seconds - whole) * 10);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}.${tenths}`;
}

/** The videos of one card, with one set of controls. The result's time is the time of all. */
class Player {
  constructor(card, videos, name) {
    this.videos = videos;
    this.clock =
      videos.find((video) => video.dataset.role === 'Result') || videos[videos.length - 1];
    this.play = make('button', { type: 'button', className: 'play', textContent: 'Play' });
    this.play.setAttribute('aria-label', `Play ${name}`);
    this.name = name;
    this.seek = make('input', { type: 'range', min: 0, max: 0, step: 0.01, value: 0 });
    this.seek.setAttribute('aria-label', `Time in ${name}`);
    this.time = make('output', { textContent: '0:00.0' });
    this.time.setAttribute('aria-live', 'off'); // the slider states the time, to those who ask
    this.speed = make(
      'select',
      {},
      SPEEDS.map((speed) =>
        make('option', { value: speed, textContent: `${speed}×`, selected: speed === 1 }),
      ),
    );
    this.speed.setAttribute('aria-label', 'Speed');
    this.sound = make('button', { type: 'button', textContent: 'Sound' });
    this.sound.setAttribute('aria-pressed', 'true');
    card.append(
      make('div', { className: 'controls' }, [
        this.play,
        this.step('‹', -STEP_S),
        this.step('›', STEP_S),
        make('span', { className: 'seek' }, [this.seek, this.time]),
        this.speed,
        this.sound,
      ]),
    );
    this.listen();
  }

  step(text, seconds) {
    const button = make('button', { type: 'button', textContent: text });
    button.setAttribute('aria-label', `${seconds < 0 ? 'Back' : 'On'} by ${STEP_S} seconds`);
    button.addEventListener('click', () => {
      this.stop();
      this.to(this.clock.currentTime + seconds);
    });
    return button;
  }

  listen() {
    this.play.addEventListener('click', () => (this.playing ? this.stop() : this.start()));
    this.seek.addEventListener('input', () => this.to(Number(this.seek.value)));
    this.speed.addEventListener('change', () => {
      for (const video of this.videos) video.playbackRate = Number(this.speed.value);
    });
    this.sound.addEventListener('click', () => {
      const on = this.sound.getAttribute('aria-pressed') !== 'true';
      this.sound.setAttribute('aria-pressed', String(on));
      this.clock.muted = !on;
    });
    this.follow(this.clock);
  }

  /** Take the time of this video as the time of all. */
  follow(video) {
    this.clock = video;
    video.muted = this.sound.getAttribute('aria-pressed') !== 'true';
    this.clock.addEventListener('durationchange', () => this.show());
    this.clock.addEventListener('timeupdate', () => this.show());
    this.clock.addEventListener('ended', () => this.stop());
  }

  get duration() {
    return Number.isFinite(this.clock.duration) ? this.clock.duration : 0;
  }

  async start() {
    if (this.clock.ended) this.to(0);
    this.playing = true;
    this.label();
    for (const video of this.videos) video.preload = 'auto';
    await Promise.all(this.videos.map((video) => video.play().catch(() => undefined)));
    if (!this.playing)
      this.stop(); // pressed again meanwhile
    else this.keepInStep();
  }

  stop() {
    this.playing = false;
    for (const video of this.videos) video.pause();
    this.label();
    this.to(this.clock.currentTime); // where a picture stays, it is the same moment in all
  }

  to(seconds) {
    const time = Math.min(Math.max(seconds, 0), this.duration || seconds);
    for (const video of this.videos) {
      const end = Number.isFinite(video.duration) ? video.duration : time;
      if (Math.abs(video.currentTime - Math.min(time, end)) > 0.001)
        video.currentTime = Math.min(time, end);
      if (this.playing && video.paused && time < end) video.play().catch(() => undefined);
    }
    this.show(time);
  }

  /** Bring videos back that lag or lead. One that is shorter stays at its end. */
  keepInStep() {
    if (!this.playing) return;
    const time = this.clock.currentTime;
    for (const video of this.videos) {
      if (video === this.clock || video.seeking || time >= video.duration) continue;
      if (Math.abs(video.currentTime - time) > DRIFT_S) video.currentTime = time;
    }
    this.show(time);
    cancelAnimationFrame(this.next);
    this.next = requestAnimationFrame(() => this.keepInStep());
  }

  label() {
    this.play.textContent = this.playing ? 'Pause' : 'Play';
    this.play.setAttribute('aria-label', `${this.play.textContent} ${this.name}`);
  }

  show(time = this.clock.currentTime) {
    this.seek.max = this.duration;
    this.seek.value = time;
    this.seek.setAttribute(
      'aria-valuetext',
      `${time.toFixed(1)} of ${this.duration.toFixed(1)} seconds`,
    );
    this.time.textContent = `${clock(time)} / ${clock(this.duration)}`;
  }
}

function tellUnplayable(video) {
  const text = make('p', {
    className: 'unplayable',
    textContent: 'This browser cannot play this format: ',
  });
  text.append(
    make('a', { href: video.getAttribute('src'), textContent: 'open the file' }),
    ' in a player.',
  );
  video.replaceWith(text);
}

function makePlayer(card) {
  const videos = [...card.querySelectorAll('video')];
  if (!videos.length) return;
  for (const video of videos) video.controls = false;
  const player = new Player(card, videos, card.querySelector('h3').textContent);
  for (const video of videos) {
    video.addEventListener('error', () => {
      player.videos = player.videos.filter((other) => other !== video);
      if (player.videos.length && player.clock === video) {
        player.follow(player.videos[player.videos.length - 1]);
      }
      tellUnplayable(video);
      if (!player.videos.length) card.querySelector('.controls').remove();
    });
  }
}

/** Load a video's length and first picture. */
function loadFirst(video) {
  video.addEventListener(
    'loadedmetadata',
    () => {
      if (!video.videoWidth)
        video.dispatchEvent(new Event('error')); // the sound alone can be decoded
      else if (!video.currentTime) video.currentTime = 0.001; // draws a picture, which metadata need not
    },
    { once: true },
  );
  video.preload = 'metadata';
}

// Only what is near the screen is loaded, so that a page may show thousands.
function loadNear(cards) {
  const watch = new IntersectionObserver(
    (entries) => {
      for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
        watch.unobserve(target);
        for (const video of target.querySelectorAll('video')) loadFirst(video);
      }
    },
    { rootMargin: '600px' },
  );
  for (const card of cards) watch.observe(card);
}

const cards = [...document.querySelectorAll('.card')];
cards.forEach(makePlayer);
loadNear(cards);
const table = document.getElementById('sorted');
if (table) makeSortable(table);
