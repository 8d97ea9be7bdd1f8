// support.mjs - for the tests: a directory each, other processes, and a look that nothing is left open.

import { fork } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { ColockError, status } from '../index.js'

const here = fileURLToPath(new URL('.', import.meta.url))

function openBelow(directory) {
  const open = []
  for (const fd of fs.readdirSync('/proc/self/fd')) {
    try {
      const file = fs.readlinkSync(`/proc/self/fd/${fd}`)
      if (file.startsWith(directory)) open.push(file)
    } catch { /* the directory's own, closed by now */ }
  }
  return open
}

// What was begun last is ended first. (Hooks of `after` run in the order in which they were set.)
const endings = new WeakMap()
export function later(t, end) {
  let list = endings.get(t)
  if (!list) {
    endings.set(t, list = [])
    t.after(async () => {
      while (list.length) await list.pop()()
    })
  }
  list.push(end)
}

// A directory of the test's own. At its end nothing in there may be open any more, in this process.
export function scratch(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'colock-node.'))
  later(t, () => {
    const open = openBelow(directory)
    fs.rmSync(directory, { recursive: true, force: true })
    if (open.length) throw new Error(`left open: ${open.join(', ')}`)
  })
  return directory
}

export async function until(what, condition) {
  const end = performance.now() + 60_000
  while (!await condition()) {
    if (performance.now() > end) throw new Error(`not within a minute: ${what}`)
    await sleep(5)
  }
}

export const waiters = (file, count) =>
  until(`${count} waiters`, async () => (await status(file)).waiters === count)

// Another process: test/agent.mjs, which does what it is told.
export class Agent {
  #child
  #calls = new Map()
  #last = 0

  constructor(t, { script = 'agent.mjs', execArgv = [], args = [] } = {}) {
    this.#child = fork(path.join(here, script), args, { execArgv, serialization: 'advanced' })
    this.said = []
    this.exited = new Promise(resolve => this.#child.on('exit', (code, signal) => {
      for (const { reject } of this.#calls.values()) reject(new Error(`the agent ended: ${code ?? signal}`))
      resolve(code ?? signal)
    }))
    this.#child.on('message', message => {
      const call = this.#calls.get(message.id)
      if (!call) return this.said.push(message)
      this.#calls.delete(message.id)
      if (message.error) call.reject(new ColockError(message.error.code, message.error.message, message.error))
      else call.resolve(message.value)
    })
    later(t, () => this.kill())
  }

  get pid() { return this.#child.pid }

  // A method of agent.mjs.
  call(name, ...values) {
    const id = ++this.#last
    const promise = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }))
    promise.catch(() => {}) // killed in the middle: whoever waits for it is told
    this.#child.send({ id, name, values })
    return promise
  }

  async kill() {
    this.#child.kill('SIGKILL')
    return this.exited
  }
}

// A script that runs to its own end: [exit code or signal, what it printed].
export function script(text, { execArgv = [] } = {}) {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'colock-node.')), 'script.mjs')
  fs.writeFileSync(file, text.replaceAll('@/', new URL('../', import.meta.url).href))
  return new Promise(resolve => {
    const child = fork(file, [], { execArgv, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    let printed = ''
    child.channel.unref()
    child.stdout.on('data', data => { printed += data })
    child.stderr.on('data', data => { printed += data })
    child.on('close', (code, signal) => {
      fs.rmSync(path.dirname(file), { recursive: true, force: true })
      resolve([code ?? signal, printed])
    })
  })
}
