// Holds tunnels with node's ws, as the role `hold` does with ours: URL TUNNELS RAMP INTERVAL HELD.
const WebSocket = require('ws');
const [url, ...rest] = process.argv.slice(1);
const [tunnels, ramp, interval, held] = rest.map(Number);
const before = process.memoryUsage().rss;
let pings = 0, opened = 0;
const open = () => {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  let seq = 0;
  const ping = () => { pings += 1; seq += 1; socket.ping(`wspulse 00000000 ${seq}`); };
  socket.on('pong', () => {});
  socket.on('error', (e) => { console.error(e.message); process.exit(1); });
  socket.on('open', () => {
    ping();
    setInterval(ping, interval * 1000);
    opened += 1;
    if (opened === tunnels) hold();
  });
};
const hold = () => {
  const cpu = process.cpuUsage(), from = pings;
  setTimeout(() => {
    const { user, system } = process.cpuUsage(cpu);
    const kib = (process.memoryUsage().rss - before) / 1024 / tunnels;
    console.log(`kib=${kib} us=${(user + system) / (pings - from)}`);
    process.exit(0);
  }, held * 1000);
};
let asked = 0;
const some = setInterval(() => {
  for (let n = 0; n < ramp / 100 && asked < tunnels; n += 1, asked += 1) open();
  if (asked >= tunnels) clearInterval(some);
}, 10);
