(() => {
'use strict';
const at = id => document.getElementById(id);
const page = at('page'), table = at('nodes');
// A page that was answered without a word for so long is no longer the truth.
const SILENT_MS = 4000, POLL_MS = 2000;
let heard = Date.now(), newest = +page.dataset.newest, last = null, fetching = false, polls = false;

const grouped = n => Math.round(n).toLocaleString('en-US');
const number = n => n > 0 && n < 10 ? n.toFixed(1) : grouped(n);
const millis = ms => ms === undefined ? '-' : ms < 10 ? ms.toFixed(1) + ' ms' : grouped(ms) + ' ms';
const span = s => {
  const m = Math.floor(s / 60), h = Math.floor(s / 3600), d = Math.floor(s / 86400);
  return s < 60 ? Math.floor(s) + ' s' : s < 3600 ? m + ' min'
    : s < 86400 ? h + ' h ' + m % 60 + ' min' : d + ' d ' + h % 24 + ' h';
};
const put = (el, text) => { if (el && el.textContent !== String(text)) el.textContent = text; };
const add = (parent, tag, text, name) => {
  const el = document.createElement(tag);
  el.textContent = text;
  if (name) el.className = name;
  parent.append(el);
  return el;
};

const BEATS = { a: [1, 8], f: [0, 10], i: [4, 2], o: [8, 1] };
function draw(svg, beats) {
  const paths = { a: '', f: '', i: '', o: '' }, counts = { a: 0, f: 0, i: 0, o: 0 };
  [...beats].forEach((b, n) => {
    const [top, height] = BEATS[b];
    paths[b] += `M${60 - beats.length + n} ${top}h.7v${height}h-.7z`;
    counts[b]++;
  });
  for (const path of svg.children) path.setAttribute('d', paths[path.getAttribute('class')]);
  svg.setAttribute('aria-label', `the last ${beats.length} s: answered in ${counts.a}, failed tries ` +
    `in ${counts.f}, idle in ${counts.i}, out of the rotation in ${counts.o}`);
}

function fill(row, node) {
  const f = name => row.querySelector(`[data-f="${name}"]`);
  const some = (el, text) => { el.hidden = !text; put(el, text || ''); };
  if (row.className !== node.state) {
    row.className = node.state;
    row.querySelector('use').setAttribute('href', '#s-' + node.state);
  }
  some(f('serves'), node.serves);
  put(f('endpoint'), node.endpoint);
  put(f('state'), node.state);
  put(f('since'), span(node.since_s));
  f('unheard').hidden = node.advertised;
  some(f('weight_why'), node.weight_why);
  put(f('why'), node.why);
  draw(row.querySelector('.beats'), node.beats);
  const share = node.share === undefined ? 0 : Math.round(node.share * 100);
  put(f('rate'), number(node.rate));
  f('share-bar').style.width = share + '%';
  put(f('share'), node.share === undefined ? '-' : share + ' %');
  put(f('p50'), millis(node.p50_ms));
  put(f('p99'), millis(node.p99_ms));
  put(f('requests'), grouped(node.requests));
  put(f('inflight'), node.inflight);
  some(f('failures'), node.failures && `${grouped(node.failures)} failed ${node.failures === 1 ? 'try' : 'tries'}`);
  const board = f('board'), words = JSON.stringify(node.board);
  if (board.dataset.words !== words) {
    board.dataset.words = words;
    board.textContent = '';
    for (const word of node.board) add(board, 'li', word.text, word.level);
  }
  put(f('model'), node.pi && node.pi.model || '');
  for (const button of row.querySelectorAll('button')) {
    button.hidden = (button.dataset.do === 'drain') === (node.state === 'draining');
  }
}

function show(state) {
  heard = Date.now();
  last = state;
  const nodes = state.nodes, sum = of => nodes.reduce((n, node) => n + of(node), 0);
  const up = nodes.filter(node => node.state === 'up').length;
  document.title = `${up}/${nodes.length} up - picluster`;
  put(at('uptime'), span(state.uptime_s));
  put(at('failed').querySelector('dd'), grouped(state.requests_failed));
  at('failed').className = state.requests_failed ? 'bad' : '';
  put(at('up'), up);
  put(at('known'), nodes.length);
  put(at('rate'), number(sum(node => node.rate)));
  put(at('inflight'), grouped(sum(node => node.inflight)));
  const served = at('served');
  put(served, grouped(state.requests_served));
  served.style.setProperty('--n', served.textContent.length);
  at('empty').hidden = nodes.length > 0;
  at('known-nodes').hidden = nodes.length === 0;
  const conflicts = at('conflicts'), lines = state.conflicts.map(conflict => conflict.text);
  if ([...conflicts.children].map(li => li.textContent).join() !== lines.join()) {
    conflicts.textContent = '';
    for (const line of lines) add(conflicts, 'li', line);
  }
  conflicts.hidden = lines.length === 0;
  const rows = {};
  for (const row of [...table.children]) {
    if (nodes.some(node => node.id === row.dataset.id)) rows[row.dataset.id] = row; else row.remove();
  }
  for (const node of nodes) if (rows[node.id]) fill(rows[node.id], node);
  if (nodes.some(node => !rows[node.id] || rows[node.id].dataset.name !== node.name)) meet();
  if (state.journal) announce(state.journal);
  standing();
}

// The server draws the rows; that of a node not met yet, or renamed, is fetched from it.
async function meet() {
  if (fetching) return;
  fetching = true;
  try {
    const answer = await fetch(location.href);
    const text = await answer.text();
    if (!answer.ok) return;
    const rows = [...new DOMParser().parseFromString(text, 'text/html').querySelectorAll('#nodes > tr')];
    const mine = id => [...table.children].find(row => row.dataset.id === id);
    rows.forEach((row, n) => {
      const old = mine(row.dataset.id);
      if (old && old.dataset.name === row.dataset.name) return;
      row.classList.add('new');
      if (old) return old.replaceWith(row);
      const before = rows.slice(n + 1).map(next => mine(next.dataset.id)).find(Boolean);
      table.insertBefore(row, before || null);
    });
  } catch { /* the next event asks again */ } finally { fetching = false; }
}

function announce(journal) {
  const lines = journal.filter(line => line.number > newest);
  const log = at('log');
  if (lines.length) {
    newest = lines[lines.length - 1].number;
    at('said').textContent = lines.slice(-3).map(line => `${line.node} ${line.what}`).join('; ');
    log.textContent = '';
    for (const line of [...journal].reverse()) {
      const item = add(log, 'li', '', line.warning ? 'warn' : '');
      add(item, 'time', '');
      add(item, 'b', line.node);
      item.append(' ');
      add(item, 'span', line.what);
      item.append(' ');
      add(item, 'small', line.detail);
    }
  }
  [...journal].reverse().forEach((line, n) => log.children[n] && put(log.children[n].firstChild, span(line.ago_s) + ' ago'));
  at('journal').hidden = journal.length === 0;
}

// Shows that no event comes any more, rather than yesterday's truth.
function standing() {
  const silent = Date.now() - heard, lost = silent > SILENT_MS;
  page.classList.toggle('lost', lost);
  at('line').hidden = !lost;
  if (lost) put(at('line'), `No word from the balancer for ${span(silent / 1000)}; what you see is from then`);
}

async function poll() {
  if (polls) return;
  polls = true;
  try {
    const answer = await fetch('/api/v1/nodes');
    if (answer.ok) show(await answer.json());
  } catch { /* asked again in a moment */ } finally { polls = false; }
}

let events;
function listen() {
  if (events) events.close();
  events = new EventSource('/api/v1/events');
  events.addEventListener('state', event => show(JSON.parse(event.data)));
}
listen();
let asked = Date.now();
setInterval(() => {
  standing();
  if (Date.now() - heard > POLL_MS && Date.now() - asked > POLL_MS) {
    asked = Date.now();
    poll();
  }
  // A browser gives up for good when an answer was none of events.
  if (events.readyState === EventSource.CLOSED) listen();
}, 1000);

// Most errors are JSON, some are plain text.
function why(text, status) {
  try {
    text = JSON.parse(text).error;
  } catch { /* as it is */ }
  return text || `The balancer answered with status ${status}`;
}

table.addEventListener('click', async event => {
  const button = event.target.closest('button');
  if (!button) return;
  const row = button.closest('tr'), alert = row.querySelector('[role=alert]'), what = button.dataset.do;
  const calm = () => { delete button.dataset.sure; put(button, what === 'drain' ? 'Drain' : 'Undrain'); };
  alert.textContent = '';
  if (what === 'drain' && !button.dataset.sure) {
    button.dataset.sure = 1;
    put(button, 'Really drain?');
    setTimeout(calm, 4000);
    return;
  }
  button.disabled = true;
  try {
    const answer = await fetch(`/api/v1/nodes/${encodeURIComponent(row.dataset.id)}/${what}`, { method: 'POST' });
    if (!answer.ok) alert.textContent = why(await answer.text(), answer.status);
  } catch {
    alert.textContent = 'The balancer does not answer';
  }
  button.disabled = false;
  calm();
});
page.classList.add('alive');
})();
