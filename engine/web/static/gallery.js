// The gallery: bundled portraits, those of the server's folder, and uploads of this tab.

import { ask, HttpRefusal } from './api.js';
import { $, icon, kept, make, tab, toast } from './dom.js';

const SIDE = 1280;

/** Events: choose {id}. */
export class Gallery extends EventTarget {
  constructor() {
    super();
    this.chosen = kept.get('portrait', '');
    this.mine = tab.get('uploads', []);
  }

  /** Show the server's portraits. Keeps the last choice if it still exists. */
  async load() {
    const { portraits, default: first } = await ask('/portraits');
    const own = await this.stillThere();
    $('gallery').replaceChildren(...[...portraits, ...own].map((portrait) => this.tile(portrait)));
    const known = [...portraits, ...own].some((portrait) => portrait.id === this.chosen);
    this.mark(known ? this.chosen : first);
  }

  /** Choose the nth portrait, counted from 0. */
  pick(n) {
    const input = $('gallery').querySelectorAll('input')[n];
    if (input) this.choose(input.value);
  }

  choose(id) {
    this.mark(id);
    kept.set('portrait', id);
    this.dispatchEvent(new CustomEvent('choose', { detail: id }));
  }

  /** Upload a picture (File or Blob) and choose it. */
  async add(picture, title) {
    const holder = make(
      'div',
      { className: 'tile waiting' },
      make('img', { alt: '' }),
      make('span', { textContent: 'Finding the face …' }),
    );
    $('gallery').append(holder);
    try {
      const body = await reduced(picture);
      const portrait = await ask(`/portraits?title=${encodeURIComponent(title.slice(0, 40))}`, {
        method: 'POST',
        headers: { 'Content-Type': body.type },
        body,
      });
      this.mine.push(portrait);
      tab.set('uploads', this.mine);
      $('gallery').append(this.tile(portrait));
      this.choose(portrait.id);
      toast('The portrait is ready.');
    } catch (error) {
      toast(sentence(error), true);
    } finally {
      holder.remove();
    }
  }

  mark(id) {
    this.chosen = id;
    const input = [...$('gallery').querySelectorAll('input')].find((one) => one.value === id);
    if (input) {
      input.checked = true;
      // Not scrollIntoView, which would scroll the page as well.
      const [box, tile] = [$('gallery'), input.parentElement];
      box.scrollTo({
        left: tile.offsetLeft - box.offsetLeft - box.clientWidth / 3,
        top: tile.offsetTop - box.offsetTop - box.clientHeight / 3,
      });
    }
    $('hero').src = `/portraits/${encodeURIComponent(id)}`;
  }

  tile(portrait) {
    const input = make('input', {
      type: 'radio',
      name: 'portrait',
      value: portrait.id,
      ariaLabel: portrait.title,
    });
    input.addEventListener('change', () => this.choose(portrait.id));
    const image = make('img', {
      src: `/portraits/${encodeURIComponent(portrait.id)}`,
      alt: '',
      width: 72,
      height: 72,
    });
    const label = make(
      'label',
      { className: 'tile', title: portrait.title },
      input,
      image,
      make('span', { textContent: portrait.title }),
    );
    if (portrait.origin === 'upload') label.append(this.remover(portrait, label));
    return label;
  }

  remover(portrait, label) {
    const button = make(
      'button',
      { type: 'button', ariaLabel: `Remove ${portrait.title}` },
      icon('close'),
    );
    button.addEventListener('click', async (event) => {
      event.preventDefault();
      this.mine = this.mine.filter((one) => one.id !== portrait.id);
      tab.set('uploads', this.mine);
      label.remove();
      if (this.chosen === portrait.id) this.pick(0);
      await ask(`/portraits/${encodeURIComponent(portrait.id)}`, { method: 'DELETE' }).catch(
        (error) => toast(sentence(error), true),
      );
    });
    return button;
  }

  /** Own uploads that the server still has. It drops them when it stops. */
  async stillThere() {
    const found = await Promise.all(
      this.mine.map((portrait) =>
        ask(`/portraits/${encodeURIComponent(portrait.id)}`).then(
          () => portrait,
          // Only the server's own word: a request that fails for another reason loses no picture.
          (error) => (error instanceof HttpRefusal && error.status === 404 ? null : portrait),
        ),
      ),
    );
    this.mine = found.filter(Boolean);
    tab.set('uploads', this.mine);
    return this.mine;
  }
}

/** An error as a sentence for people. */
export function sentence(error) {
  if (!(error instanceof HttpRefusal))
    return error instanceof TypeError
      ? 'The server does not answer.'
      : String(error.message || error);
  const text = error.message;
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}

/**
 * A JPEG of at most 1280 pixels a side, without metadata.
 * The file itself if the browser cannot read it.
 */
async function reduced(picture) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(picture, { imageOrientation: 'from-image' });
  } catch {
    return picture; // the server reads more formats than some browsers do, such as HEIC
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = make('canvas', {
    width: Math.max(1, Math.round(bitmap.width * scale)),
    height: Math.max(1, Math.round(bitmap.height * scale)),
  });
  const context = canvas.getContext('2d');
  context.fillStyle = 'rgb(128 128 128)';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => {
    canvas.toBlob(resolve, 'image/jpeg', 0.92);
  });
}
