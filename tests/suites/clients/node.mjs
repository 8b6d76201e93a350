// Node: fetch, which is undici, and the older http module, which shows interim answers and trailers:
// `node.mjs URL DIRECTORY`.

import { writeFileSync } from 'node:fs';
import http from 'node:http';

const [url, out] = process.argv.slice(2);
const BODY = 'hello, world\n';

async function ask(name, path, options = {}) {
    let said;
    try {
        const answer = await fetch(url + path, { signal: AbortSignal.timeout(20000), ...options });
        const fields = [...answer.headers].map(([name, value]) => `${name}: ${value}`);
        const head = [`${answer.status} ${answer.statusText}`, answer.redirected, ...fields, '', ''];
        const body = Buffer.from(await answer.arrayBuffer());
        said = Buffer.concat([Buffer.from(head.join('\n')), body]);
    } catch (error) {
        said = String(error.cause ?? error);
    }
    writeFileSync(`${out}/${name}`, said);
}

function chunks() {
    const parts = [BODY, BODY].map((part) => new TextEncoder().encode(part));
    return ReadableStream.from(parts);
}

await ask('get', '/echo?a=1&b=%20');
await ask('post-length', '/echo', { method: 'POST', body: BODY });
await ask('post-chunked', '/echo', { method: 'POST', body: chunks(), duplex: 'half' });
await ask('post-form', '/echo', { method: 'POST', body: new URLSearchParams({ a: '1', b: '2' }) });
await ask('put-1mb', '/echo', { method: 'PUT', body: 'x'.repeat(1 << 20) });
await ask('redirect', '/redirect');
await ask('gzip', '/gzip');
await ask('cookies', '/cookies', { headers: { Cookie: 'a=1; b=2' } });
await ask('fields', '/fields');
await ask('range', '/range', { headers: { Range: 'bytes=10-19' } });
await ask('head', '/large', { method: 'HEAD' });
await ask('large', '/large');
await ask('not-found', '/none');
await ask('chunked', '/chunked');
await ask('until-close', '/close');
await ask('unchanged', '/unchanged', { headers: { 'If-None-Match': '"v1"' } });
await ask('empty', '/empty');
await ask('big-field', '/big', { headers: { 'X-Big': 'b'.repeat(6000) } });
await ask('early-hints', '/hints');

// Turns names and values, which come in turn, into lines.
function lines(raw) {
    return raw.flatMap((name, i) => (i % 2 ? [] : [`${name}: ${raw[i + 1]}`]));
}

// The report of http.request about an exchange: interim answers, raw fields, body, trailers.
function raw(name, path, { agent, body, trailers, ...options } = {}) {
    return new Promise((resolve) => {
        const said = [];
        const end = () => {
            writeFileSync(`${out}/${name}`, said.join('\n'));
            resolve(request.socket);
        };
        const request = http.request(url + path, { agent, timeout: 20000, ...options });
        request.on('information', (info) => said.push(`${info.statusCode}`, ...lines(info.rawHeaders)));
        request.on('continue', () => said.push('continue') && request.end(body));
        request.on('error', (error) => said.push(String(error)) && end());
        request.on('timeout', () => request.destroy(new Error('timeout')));
        request.on('response', async (answer) => {
            said.push(`${answer.statusCode} ${answer.statusMessage}`, ...lines(answer.rawHeaders));
            for await (const part of answer.setEncoding('latin1')) said.push(part);
            said.push('trailers', ...lines(answer.rawTrailers));
            end();
        });
        if (trailers) request.addTrailers(trailers);
        if (!options.headers?.Expect) request.end(body);
        else request.flushHeaders();
    });
}

await raw('http-early-hints', '/hints');
await raw('http-trailers', '/chunked', { headers: { TE: 'trailers', Connection: 'TE' } });
await raw('http-fields', '/fields');
const post = { method: 'POST', body: BODY };
await raw('http-expect', '/echo', { ...post, headers: { Expect: '100-continue' } });
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const ports = new Set();
for (const path of ['/echo?1', '/chunked', '/empty', '/echo?2']) {
    ports.add((await raw('.kept', path, { agent })).localPort);
}
writeFileSync(`${out}/http-kept`, `connections: ${ports.size}\n`);
agent.destroy();
process.exit(0);
