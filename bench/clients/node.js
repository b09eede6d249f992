// A client of matrix.py, which says what it is given: @grpc/grpc-js.
const grpc = require('@grpc/grpc-js');

const [target, callers, connections, pauseMs, , kind] = process.argv.slice(2);
const MESSAGES = 20; // of one stream
const bytes = (message) => message;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let over = false;
let calls = 0;
const lost = {};

const connect = () => new Promise((resolve, reject) => {
  const options = { 'grpc.use_local_subchannel_pool': 1 };
  const client = new grpc.Client(target, grpc.credentials.createInsecure(), options);
  client.waitForReady(Date.now() + 10_000, (error) => (error ? reject(error) : resolve(client)));
});

const unary = (client) => new Promise((resolve) => {
  client.makeUnaryRequest('/lastcall.example.Echo/Unary', bytes, bytes, Buffer.alloc(0), resolve);
});

const stream = (client) => new Promise((resolve) => {
  const messages = client.makeBidiStreamRequest('/lastcall.example.Echo/Bidi', bytes, bytes);
  let answered = 0;
  messages.on('data', async () => {
    ++answered;
    await sleep(1);
    if (answered < MESSAGES) messages.write(Buffer.alloc(0));
    else messages.end();
  });
  messages.on('error', () => {}); // its status says the same
  messages.on('status', (status) => {
    if (status.code !== grpc.status.OK) resolve(status);
    else resolve(answered === MESSAGES ? null : { code: 'DATA_LOSS', details: 'answers are missing' });
  });
  messages.write(Buffer.alloc(0));
});

const call = kind === 'stream' ? stream : unary;

async function callOnAndOn(client) {
  while (!over) {
    if (pauseMs !== '0') await sleep(Math.random() * pauseMs);
    const error = await call(client);
    ++calls;
    if (!error) continue;
    const status = `${error.code} ${error.details}`;
    lost[status] = (lost[status] || 0) + 1;
    await sleep(1);
  }
}

async function main() {
  const clients = await Promise.all(Array.from({ length: connections }, connect));
  const calling = Array.from({ length: callers }, (_, i) => callOnAndOn(clients[i % connections]));
  console.log('connected');
  process.stdin.resume().on('end', () => { over = true; });
  await Promise.all(calling);
  console.log(JSON.stringify({ calls, lost }));
  process.exit();
}

main();
